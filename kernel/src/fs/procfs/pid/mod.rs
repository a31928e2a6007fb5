//! /proc/<pid> and /proc/<pid>/task/<tid>: one directory per process and thread.
//!
//! A directory is made when it is looked up and refers to its process; after the end of that, files say ESRCH or are
//! empty. Inode numbers are computed from process number and entry, so that they are the same at each look.

mod descriptors;
mod memory;
mod mounts;
mod status;

use super::device;
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::fs::file::OpenFile;
use crate::fs::inode::{FileKind, Inode, InodeId, LinkTarget};
use crate::fs::pseudo::{DirProvider, Identity, Listed, PseudoDir, PseudoFile, PseudoLink};
use crate::sched;
use crate::task::{self, Capability, Gid, Pid, Process, Thread, Tid, Uid};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The inode number of procfs's root.
pub(super) const ROOT_INO: u64 = 1 << 56;

/// The directory of a process.
pub(super) fn process_ino(pid: Pid) -> u64 {
    ino(pid.0, 0)
}

/// Numbers that no counter reaches: bit 57, the process or thread, the entry.
fn ino(number: i32, entry: usize) -> u64 {
    1 << 57 | (number as u64) << 24 | entry as u64
}

/// Whose directory it is: a process, seen through one of its threads.
#[derive(Clone)]
pub(super) struct Subject {
    process: Arc<Process>,
    /// `None` for a process's own directory: then its first thread answers.
    thread: Option<Arc<Thread>>,
}

impl Subject {
    /// The thread that answers. ESRCH if it has ended.
    fn thread(&self) -> Result<Arc<Thread>> {
        let first = || self.process.threads().into_iter().next();
        self.thread.clone().or_else(first).ok_or_else(|| Errno::ESRCH.because("the process has ended"))
    }

    fn threads(&self) -> Vec<Arc<Thread>> {
        match &self.thread {
            Some(t) => Vec::from([t.clone()]),
            None => self.process.threads(),
        }
    }

    fn number(&self) -> i32 {
        self.thread.as_ref().map_or(self.process.pid().0, |t| t.tid().0)
    }

    fn owner(&self) -> (Uid, Gid) {
        self.process.credentials().map_or((Uid(0), Gid(0)), |c| (c.euid, c.egid))
    }

    fn identity(&self, entry: usize, mode: u32) -> Identity {
        let id = InodeId { dev: device(), ino: ino(self.number(), entry) };
        Identity { id, mode, owner: self.owner() }
    }

    /// EACCES unless the caller may look into the process as a debugger might (ptrace(2), PTRACE_MODE_READ).
    fn check_access(&self) -> Result<()> {
        let Some(caller) = sched::current() else { return Ok(()) };
        if Arc::ptr_eq(caller.process(), &self.process) {
            return Ok(());
        }
        let (who, Some(them)) = (caller.credentials(), self.process.credentials()) else { return Ok(()) };
        let same = [them.ruid, them.euid, them.suid].iter().all(|&u| u == who.fsuid);
        if same || who.capable(Capability::SysPtrace) {
            return Ok(());
        }
        Err(Errno::EACCES.because("another user's process"))
    }
}

type Write = fn(&Subject, &mut Vec<u8>) -> Result<()>;
type Accept = fn(&Subject, &[u8]) -> Result<()>;
type Lead = fn(&Subject) -> Result<Path>;
type Make = fn(&Subject, usize) -> Arc<dyn Inode>;

/// What stands behind a name.
#[derive(Clone, Copy)]
enum Entry {
    Text(u32, Write),
    /// Text that can be written, too.
    Writable(u32, Write, Accept),
    /// Text that only those see who may debug the process.
    Guarded(u32, Write),
    Link(Lead),
    Directory(Make),
}

/// The entries of both kinds of directories.
const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", Entry::Guarded(0o400, memory::auxv)),
    ("cgroup", Entry::Text(0o444, |_, out| put(out, "0::/\n"))),
    ("cmdline", Entry::Text(0o444, memory::cmdline)),
    ("comm", Entry::Writable(0o644, status::comm, status::set_comm)),
    ("coredump_filter", Entry::Writable(0o644, memory::coredump_filter, memory::set_coredump_filter)),
    ("cwd", Entry::Link(|s| Ok(s.thread()?.fs().cwd()))),
    ("environ", Entry::Guarded(0o400, memory::environ)),
    ("exe", Entry::Link(|s| s.process.exe().ok_or_else(|| Errno::ENOENT.into()))),
    ("fd", Entry::Directory(descriptors::links)),
    ("fdinfo", Entry::Directory(descriptors::infos)),
    ("gid_map", Entry::Writable(0o644, |_, out| put(out, WHOLE_MAP), ignore)),
    ("io", Entry::Guarded(0o400, |_, out| put(out, NO_IO))),
    ("limits", Entry::Text(0o444, status::limits)),
    ("maps", Entry::Guarded(0o444, memory::maps)),
    ("mountinfo", Entry::Text(0o444, mounts::mountinfo)),
    ("mounts", Entry::Text(0o444, mounts::mounts)),
    ("net", Entry::Directory(|_, _| super::net::directory())),
    ("oom_score", Entry::Text(0o444, memory::oom_score)),
    ("oom_score_adj", Entry::Writable(0o644, memory::oom_score_adj, memory::set_oom_score_adj)),
    ("personality", Entry::Guarded(0o400, status::personality)),
    ("root", Entry::Link(|s| Ok(s.thread()?.fs().root()))),
    ("schedstat", Entry::Text(0o444, |_, out| put(out, "0 0 0\n"))),
    ("setgroups", Entry::Writable(0o644, |_, out| put(out, "allow\n"), ignore)),
    ("smaps", Entry::Guarded(0o444, memory::smaps)),
    ("smaps_rollup", Entry::Guarded(0o444, memory::smaps_rollup)),
    ("stat", Entry::Text(0o444, status::stat)),
    ("statm", Entry::Text(0o444, memory::statm)),
    ("status", Entry::Text(0o444, status::status)),
    ("task", Entry::Directory(tasks)),
    ("uid_map", Entry::Writable(0o644, |_, out| put(out, WHOLE_MAP), ignore)),
    ("wchan", Entry::Text(0o444, |_, out| put(out, "0"))),
];

/// There is one user name space (user_namespaces(7)).
const WHOLE_MAP: &str = "         0          0 4294967295\n";

/// Transfers are not counted per process.
const NO_IO: &str = "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n";

/// Of files that have one possible value.
fn ignore(_: &Subject, _: &[u8]) -> Result<()> {
    Ok(())
}

fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The directory of the process or thread with this number. Threads are found by number but not listed (proc(5)).
pub(super) fn lookup(number: i32) -> Result<Arc<dyn Inode>> {
    if let Some(process) = task::find_process(Pid(number)) {
        return Ok(subject_directory(Subject { process, thread: None }));
    }
    let thread = task::find_thread(Tid(number)).ok_or(Errno::ENOENT)?;
    Ok(subject_directory(Subject { process: thread.process().clone(), thread: Some(thread) }))
}

/// The process whose directory `file` is; `None` for any other file.
pub fn process_of(file: &OpenFile) -> Option<Arc<Process>> {
    let directory: &PseudoDir = file.ops().downcast_ref()?;
    let SubjectDir(subject) = directory.provider()?;
    subject.thread.is_none().then(|| subject.process.clone())
}

fn subject_directory(subject: Subject) -> Arc<dyn Inode> {
    PseudoDir::new(subject.identity(0, 0o555), SubjectDir(subject))
}

struct SubjectDir(Subject);

impl SubjectDir {
    /// A thread's directory has no directory of threads.
    fn has(&self, name: &str) -> bool {
        self.0.thread.is_none() || name != "task"
    }

    fn make(&self, index: usize, entry: Entry) -> Arc<dyn Inode> {
        let subject = self.0.clone();
        match entry {
            Entry::Text(mode, write) => PseudoFile::new(self.0.identity(index, mode), move |out| write(&subject, out)),
            Entry::Writable(mode, write, accept) => {
                let target = subject.clone();
                let generate = move |out: &mut Vec<u8>| write(&subject, out);
                PseudoFile::writable(self.0.identity(index, mode), generate, move |bytes| accept(&target, bytes))
            }
            Entry::Guarded(mode, write) => PseudoFile::new(self.0.identity(index, mode), move |out| {
                subject.check_access()?;
                write(&subject, out)
            }),
            Entry::Link(lead) => PseudoLink::new(self.0.identity(index, 0o777), move || {
                subject.check_access()?;
                let path = lead(&subject)?;
                let text = path.display();
                Ok(LinkTarget::Magic(path, text))
            }),
            Entry::Directory(make) => make(&self.0, index),
        }
    }
}

impl DirProvider for SubjectDir {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = (1..).zip(ENTRIES).find(|(_, (n, _))| n.as_bytes() == name && self.has(n));
        found.map(|(index, &(_, entry))| self.make(index, entry)).ok_or_else(|| Errno::ENOENT.into())
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let kind = |e: &Entry| match e {
            Entry::Text(..) | Entry::Writable(..) | Entry::Guarded(..) => FileKind::Regular,
            Entry::Link(_) => FileKind::Symlink,
            Entry::Directory(_) => FileKind::Directory,
        };
        let entries = (1..).zip(ENTRIES).filter(|(_, (name, _))| self.has(name));
        let number = self.0.number();
        Ok(entries
            .map(|(i, (name, e))| Listed {
                name: name.as_bytes().to_vec(),
                ino: ino(number, i),
                kind: kind(e),
                position: i as u64,
            })
            .collect())
    }
}

fn tasks(subject: &Subject, index: usize) -> Arc<dyn Inode> {
    PseudoDir::new(subject.identity(index, 0o555), Tasks(subject.process.clone()))
}

/// A process's threads.
struct Tasks(Arc<Process>);

impl DirProvider for Tasks {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let tid = super::number(name).ok_or(Errno::ENOENT)?;
        let thread = self.0.threads().into_iter().find(|t| t.tid().0 == tid).ok_or(Errno::ENOENT)?;
        Ok(subject_directory(Subject { process: self.0.clone(), thread: Some(thread) }))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let entry = |t: &Arc<Thread>| Listed {
            name: format!("{}", t.tid().0).into_bytes(),
            ino: ino(t.tid().0, 0),
            kind: FileKind::Directory,
            position: t.tid().0 as u64,
        };
        let mut all: Vec<Listed> = self.0.threads().iter().map(entry).collect();
        all.sort_unstable_by_key(|e| e.position);
        Ok(all)
    }
}

/// A path as these files spell it: blanks, tabs, newlines and backslashes as octal escapes.
fn escape(name: &[u8]) -> String {
    let mut out = String::new();
    for &b in name {
        match b {
            b' ' | b'\t' | b'\n' | b'\\' => out.push_str(&format!("\\{b:03o}")),
            _ => out.push(char::from(b)),
        }
    }
    out
}
