//! Files: the virtual file system, its file systems, and the files that live outside any tree.
//!
//! A path name is resolved (`lookup`) from the places of an `FsContext` (`context`) through cached names (`dentry`) and
//! mounts (`mount`) to an inode (`inode`), which a file system brought (`ext4`, `hostfs`, `tmpfs`, `procfs`, ...). Opening it
//! (`open`) gives an open file description (`file`), which a descriptor table (`fd_table`) numbers. Reads and writes
//! that wait do so in `io` alone. What a program does with names is in `names`, with attributes in `attributes`;
//! who hears of it is in `notify`.

pub mod attributes;
pub mod boot;
pub mod context;
pub mod dentry;
pub mod device;
pub mod devpts;
pub mod devtmpfs;
pub mod epoll;
pub mod eventfd;
pub mod ext4;
pub mod fd_table;
pub mod fifo;
pub mod file;
pub mod hostfs;
pub mod initramfs;
pub mod inode;
pub mod inotify;
pub mod io;
pub mod locks;
pub mod lookup;
pub mod mount;
pub mod mqueue;
pub mod names;
pub mod notify;
pub mod open;
pub mod overlay;
pub mod page_cache;
pub mod permission;
pub mod pipe;
pub mod poll;
pub mod procfs;
pub mod pseudo;
pub mod signal_io;
pub mod sparse_pages;
pub mod sysfs;
pub mod timerfd;
pub mod tmpfs;

pub use context::{Actor, FsContext};
pub use dentry::Path;
pub use fd_table::FdTable;
pub use inode::FileKind;
pub use lookup::Resolve;
