//! What a path name is resolved against: root, working directory, umask, and on whose behalf.

use super::dentry::Path;
use super::mount;
use crate::sync::{Rank, SpinLock};
use crate::task::{Credentials, Thread};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

struct Places {
    root: Path,
    cwd: Path,
}

/// Root, working directory and umask; shared by threads with CLONE_FS.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
}

impl fmt::Debug for FsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsContext").field("root", &self.root()).field("cwd", &self.cwd()).finish()
    }
}

impl Default for FsContext {
    /// At the machine's root, with umask 022, as init starts.
    fn default() -> Self {
        let root = mount::machine_root();
        Self::at(root.clone(), root, 0o022)
    }
}

impl FsContext {
    /// A context with these places.
    pub fn at(root: Path, cwd: Path, umask: u32) -> Self {
        FsContext { places: SpinLock::new(Rank::FsContext, Places { root, cwd }), umask: AtomicU32::new(umask & 0o777) }
    }

    /// A copy that is shared with nobody (fork(2), unshare(2)).
    pub fn fork(&self) -> Self {
        let (root, cwd) = {
            let p = self.places.lock();
            (p.root.clone(), p.cwd.clone())
        };
        Self::at(root, cwd, self.umask())
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.places.lock().cwd.clone()
    }

    /// Changes the root directory (chroot(2)).
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }

    /// Changes the working directory (chdir(2)).
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.places.lock().cwd, cwd);
        drop(old);
    }

    /// The permission bits that new files do not get.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Changes the umask; returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

/// On whose behalf a file-system operation is done. The operations are its methods, spread over the modules of this
/// folder.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Identity.
    pub who: Arc<Credentials>,
}

impl Actor {
    /// A thread.
    pub fn of(thread: &Thread) -> Self {
        Actor { fs: thread.fs(), who: thread.credentials() }
    }

    /// The kernel itself: the superuser at the machine's root.
    pub fn kernel() -> Self {
        Actor { fs: Arc::new(FsContext::default()), who: Arc::new(Credentials::root()) }
    }
}
