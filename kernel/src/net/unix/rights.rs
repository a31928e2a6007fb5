//! What travels beside the bytes: open file descriptions (`SCM_RIGHTS`) and who sent them (`SCM_CREDENTIALS`).

use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::net::file::ControlMessage;
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Fd, Resource, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;

/// Most descriptions in one message (`SCM_MAX_FD`, unix(7)).
const MAX_RIGHTS: usize = 253;

/// Descriptions that stand in some inbox.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// A process with user and group, as `struct ucred` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Credential {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl Credential {
    /// Of nobody in particular: what a receiver sees of a sender that is no process.
    pub const NOBODY: Credential = Credential { pid: 0, uid: 65534, gid: 65534 };

    /// What messages carry unless the sender says otherwise: the real ids.
    pub fn real(t: &Thread) -> Self {
        let who = t.credentials();
        Credential { pid: t.process().pid().0, uid: who.ruid.0, gid: who.rgid.0 }
    }

    /// What `SO_PEERCRED` shows: the effective ids.
    pub fn effective(t: &Thread) -> Self {
        let who = t.credentials();
        Credential { pid: t.process().pid().0, uid: who.euid.0, gid: who.egid.0 }
    }

    /// `struct ucred`.
    pub fn bytes(self) -> Vec<u8> {
        [self.pid.to_ne_bytes(), self.uid.to_ne_bytes(), self.gid.to_ne_bytes()].concat()
    }

    /// As ancillary data.
    pub fn message(self) -> ControlMessage {
        ControlMessage { level: SOL_SOCKET, kind: SCM_CREDENTIALS, data: self.bytes() }
    }

    /// What a sender says it is. EPERM if it is not, and has no capability to say so (unix(7)).
    fn claimed(t: &Thread, data: &[u8]) -> Result<Self> {
        let word = |at: usize| data.get(at..).and_then(|d| d.first_chunk()).map(|b| i32::from_ne_bytes(*b));
        let (12, Some(pid), Some(uid), Some(gid)) = (data.len(), word(0), word(4), word(8)) else {
            return Err(Errno::EINVAL.because("SCM_CREDENTIALS is a struct ucred"));
        };
        let (uid, gid) = (uid as u32, gid as u32);
        let who = t.credentials();
        let own = pid == t.process().pid().0 || who.capable(Capability::SysAdmin);
        let user = [who.ruid.0, who.euid.0, who.suid.0].contains(&uid) || who.capable(Capability::Setuid);
        let group = [who.rgid.0, who.egid.0, who.sgid.0].contains(&gid) || who.capable(Capability::Setgid);
        if own && user && group {
            return Ok(Credential { pid, uid, gid });
        }
        Err(Errno::EPERM.because("SCM_CREDENTIALS of somebody else"))
    }
}

/// Descriptions in an inbox. Dropping them may close sockets: never with a lock held.
#[derive(Default)]
pub(super) struct Rights(Vec<Arc<OpenFile>>);

impl Rights {
    fn new(files: Vec<Arc<OpenFile>>) -> Self {
        IN_FLIGHT.fetch_add(files.len(), Ordering::Relaxed);
        Rights(files)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn files(&self) -> &[Arc<OpenFile>] {
        &self.0
    }

    /// They have arrived.
    pub(super) fn deliver(mut self) -> Vec<Arc<OpenFile>> {
        IN_FLIGHT.fetch_sub(self.0.len(), Ordering::Relaxed);
        core::mem::take(&mut self.0)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// Descriptions on their way, over all sockets.
pub(super) fn in_flight() -> usize {
    IN_FLIGHT.load(Ordering::Relaxed)
}

/// What a message carries beside its bytes.
pub(super) struct Cargo {
    pub(super) credential: Credential,
    pub(super) rights: Rights,
}

impl Cargo {
    /// From the ancillary data of a call. EBADF for a descriptor that is not open, ETOOMANYREFS beyond RLIMIT_NOFILE.
    pub(super) fn load(t: Option<&Thread>, control: &[ControlMessage]) -> Result<Self> {
        let Some(t) = t else { return Ok(Cargo { credential: Credential::NOBODY, rights: Rights::default() }) };
        let mut credential = Credential::real(t);
        let mut files = Vec::new();
        for message in control.iter().filter(|m| m.level == SOL_SOCKET) {
            match message.kind {
                SCM_CREDENTIALS => credential = Credential::claimed(t, &message.data)?,
                SCM_RIGHTS => {
                    let (fds, rest) = message.data.as_chunks::<4>();
                    if !rest.is_empty() || files.len() + fds.len() > MAX_RIGHTS {
                        return Err(Errno::EINVAL.because("SCM_RIGHTS is up to 253 descriptors"));
                    }
                    let table = t.files();
                    for fd in fds {
                        files.push(table.get(Fd(i32::from_ne_bytes(*fd)))?);
                    }
                }
                _ => return Err(Errno::EINVAL.because("unix sockets have no such ancillary data")),
            }
        }
        if !files.is_empty() {
            let who = t.credentials();
            let limit = t.process().rlimits().get(Resource::OpenFiles).rlim_cur;
            let mighty = who.capable(Capability::SysResource) || who.capable(Capability::SysAdmin);
            if in_flight() as u64 > limit && !mighty {
                return Err(Errno::ETOOMANYREFS.because("RLIMIT_NOFILE counts descriptors on their way"));
            }
        }
        Ok(Cargo { credential, rights: Rights::new(files) })
    }
}

struct Doomed {
    list: Vec<Rights>,
    draining: bool,
}

static DOOMED: SpinLock<Doomed> = SpinLock::new(Rank::Socket, Doomed { list: Vec::new(), draining: false });

/// Drops descriptions that nobody will receive. One of them may be a socket with others in its inbox, and so on: they
/// are dropped in a loop, not each inside the drop of the one before.
pub(super) fn dispose(rights: Rights) {
    if rights.is_empty() {
        return;
    }
    {
        let mut doomed = DOOMED.lock();
        doomed.list.push(rights);
        if doomed.draining {
            return;
        }
        doomed.draining = true;
    }
    loop {
        let next = {
            let mut doomed = DOOMED.lock();
            let next = doomed.list.pop();
            doomed.draining = next.is_some();
            next
        };
        match next {
            Some(rights) => drop(rights),
            None => return,
        }
    }
}
