//! /proc/sysvipc: the objects of System V IPC (proc(5)).

use super::file;
use crate::fs::inode::Inode;
use crate::fs::procfs;
use crate::fs::pseudo::FixedDir;
use crate::ipc::sysv::{Permissions, messages, segments, semaphores};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

fn owners(p: &Permissions) -> String {
    format!("{:>5} {:>5} {:>5} {:>5}", p.uid.0, p.gid.0, p.creator_uid.0, p.creator_gid.0)
}

fn shm() -> String {
    let mut text = String::from(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
    );
    for s in segments::list() {
        let p = &s.permissions;
        text.push_str(&format!(
            "{:>10} {:>10}  {:>4o} {:>21} {:>5} {:>5}  {:>5} {} {:>10} {:>10} {:>10} {:>21} {:>21}\n",
            p.key,
            s.id,
            p.mode,
            s.size,
            s.created_by,
            s.last_used_by,
            s.attachments,
            owners(p),
            s.attached,
            s.detached,
            s.changed,
            s.resident,
            0
        ));
    }
    text
}

fn sem() -> String {
    let mut text =
        String::from("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    for s in semaphores::list() {
        let p = &s.permissions;
        text.push_str(&format!(
            "{:>10} {:>10}  {:>4o} {:>10} {} {:>10} {:>10}\n",
            p.key,
            s.id,
            p.mode,
            s.semaphores,
            owners(p),
            s.operated,
            s.changed
        ));
    }
    text
}

fn msg() -> String {
    let mut text = String::from(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
    );
    for s in messages::list() {
        let p = &s.permissions;
        text.push_str(&format!(
            "{:>10} {:>10}  {:>4o}  {:>10} {:>10} {:>5} {:>5} {} {:>10} {:>10} {:>10}\n",
            p.key,
            s.id,
            p.mode,
            s.bytes,
            s.messages,
            s.last_sender,
            s.last_receiver,
            owners(p),
            s.sent,
            s.received,
            s.changed
        ));
    }
    text
}

/// The directory.
pub(super) fn directory() -> Arc<dyn Inode> {
    let entries =
        FixedDir::default().with("shm", file(0o444, shm)).with("sem", file(0o444, sem)).with("msg", file(0o444, msg));
    procfs::directory(entries)
}
