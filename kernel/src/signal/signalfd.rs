//! signalfd(2): a descriptor that reads pending signals.

use super::info::{SI_TIMER, SigInfo};
use super::number::{SigSet, Signal};
use super::send;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::IovDest;
use crate::sched;
use core::sync::atomic::{AtomicU64, Ordering};

/// `struct signalfd_siginfo`, 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct SignalfdSiginfo {
    pub signo: u32,
    pub errno: i32,
    pub code: i32,
    pub pid: u32,
    pub uid: u32,
    pub fd: i32,
    pub tid: u32,
    pub band: u32,
    pub overrun: u32,
    pub trapno: u32,
    pub status: i32,
    pub int: i32,
    pub ptr: u64,
    pub utime: u64,
    pub stime: u64,
    pub addr: u64,
    pub addr_lsb: u16,
    pad2: u16,
    pub syscall: i32,
    pub call_addr: u64,
    pub arch: u32,
    pad: [u32; 7],
}

const _: () = assert!(size_of::<SignalfdSiginfo>() == 128);

impl SignalfdSiginfo {
    fn from_info(signal: Signal, info: &SigInfo) -> Self {
        let mut out = SignalfdSiginfo {
            signo: signal.number() as u32,
            errno: info.errno,
            code: info.code,
            ..SignalfdSiginfo::default()
        };
        if info.code == SI_TIMER {
            out.tid = info.timer_id() as u32;
            out.overrun = info.overrun() as u32;
            (out.int, out.ptr) = (info.value() as i32, info.value());
        } else if signal.is_synchronous() && info.code > 0 {
            out.addr = info.addr();
        } else {
            out.pid = info.pid() as u32;
            out.uid = info.uid();
            if signal == Signal::CHLD && info.code > 0 {
                out.status = info.status();
                (out.utime, out.stime) = info.child_times();
            } else {
                (out.int, out.ptr) = (info.value() as i32, info.value());
            }
        }
        out
    }

    fn bytes(&self) -> [u8; 128] {
        let mut out = [0u8; 128];
        let mut at = 0;
        let mut put = |b: &[u8]| {
            out[at..at + b.len()].copy_from_slice(b);
            at += b.len();
        };
        put(&self.signo.to_le_bytes());
        put(&self.errno.to_le_bytes());
        put(&self.code.to_le_bytes());
        put(&self.pid.to_le_bytes());
        put(&self.uid.to_le_bytes());
        put(&self.fd.to_le_bytes());
        put(&self.tid.to_le_bytes());
        put(&self.band.to_le_bytes());
        put(&self.overrun.to_le_bytes());
        put(&self.trapno.to_le_bytes());
        put(&self.status.to_le_bytes());
        put(&self.int.to_le_bytes());
        put(&self.ptr.to_le_bytes());
        put(&self.utime.to_le_bytes());
        put(&self.stime.to_le_bytes());
        put(&self.addr.to_le_bytes());
        put(&self.addr_lsb.to_le_bytes());
        put(&self.pad2.to_le_bytes());
        put(&self.syscall.to_le_bytes());
        put(&self.call_addr.to_le_bytes());
        put(&self.arch.to_le_bytes());
        out
    }
}

/// The file behind a signalfd. It shows the signals of whoever reads or polls it.
pub struct SignalFd {
    wanted: AtomicU64,
}

impl SignalFd {
    /// For these signals; SIGKILL and SIGSTOP are dropped from the set.
    pub fn new(wanted: SigSet) -> Self {
        SignalFd { wanted: AtomicU64::new(wanted.minus(SigSet::UNSTOPPABLE).0) }
    }

    /// Replaces the set (signalfd(2) on an existing descriptor).
    pub fn set_wanted(&self, wanted: SigSet) {
        self.wanted.store(wanted.minus(SigSet::UNSTOPPABLE).0, Ordering::Relaxed);
        if let Some(t) = sched::current() {
            t.process().signals.arrival.wake(PollEvents::READABLE);
        }
    }

    fn wanted(&self) -> SigSet {
        SigSet(self.wanted.load(Ordering::Relaxed))
    }
}

impl FileOps for SignalFd {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        let t = sched::current().ok_or(Errno::EAGAIN)?;
        let entry = size_of::<SignalfdSiginfo>();
        if dst.remaining() < entry {
            return Err(Errno::EINVAL.because("a signalfd_siginfo has 128 bytes"));
        }
        let mut done = 0;
        while dst.remaining() >= entry {
            let Some((signal, info)) = send::take(t, self.wanted()) else { break };
            dst.put(&SignalfdSiginfo::from_info(signal, &info).bytes())?;
            done += entry;
        }
        if done == 0 {
            return Err(Errno::EAGAIN.into());
        }
        Ok(done)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        let Some(t) = sched::current() else { return PollEvents::empty() };
        watch.watch(&t.process().signals.arrival);
        let pending = t.signals.queued().or(t.process().signals.queued());
        if pending.and(self.wanted()).is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }
}
