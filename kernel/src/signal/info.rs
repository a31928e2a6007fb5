//! `siginfo_t`: what comes with a signal (sigaction(2)).

use super::number::Signal;
use crate::task::{Fd, Pid, Uid};

/// `si_code` of kill(2).
pub const SI_USER: i32 = 0;
/// `si_code` of the kernel's own signals.
pub const SI_KERNEL: i32 = 0x80;
/// `si_code` of sigqueue(3).
pub const SI_QUEUE: i32 = -1;
/// `si_code` of POSIX timers.
pub const SI_TIMER: i32 = -2;
/// `si_code` of mq_notify(2).
pub const SI_MESGQ: i32 = -3;
/// `si_code` of tkill(2) and tgkill(2).
pub const SI_TKILL: i32 = -6;
/// SIGCHLD: the child called exit(2).
pub const CLD_EXITED: i32 = 1;
/// SIGCHLD: a signal ended the child.
pub const CLD_KILLED: i32 = 2;
/// SIGCHLD: the child stopped.
pub const CLD_STOPPED: i32 = 5;
/// SIGCHLD: the child continued.
pub const CLD_CONTINUED: i32 = 6;

/// `siginfo_t` of x86-64, 128 bytes. Which of the fields past `code` mean something depends on signal and code.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SigInfo {
    /// `si_signo`.
    pub signo: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    pad: i32,
    fields: [u64; 14],
}

const _: () = assert!(size_of::<SigInfo>() == 128);

impl SigInfo {
    /// All zero: no signal.
    pub const NONE: SigInfo = SigInfo { signo: 0, errno: 0, code: 0, pad: 0, fields: [0; 14] };

    /// A signal of the kernel's own, without a sender.
    pub const fn new(signal: Signal, code: i32) -> Self {
        SigInfo { signo: signal.number(), errno: 0, code, pad: 0, fields: [0; 14] }
    }

    /// SI_KERNEL.
    pub const fn kernel(signal: Signal) -> Self {
        Self::new(signal, SI_KERNEL)
    }

    /// From a process: SI_USER, SI_TKILL and their like.
    pub const fn from_sender(signal: Signal, code: i32, pid: Pid, uid: Uid) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = pid.0 as u32 as u64 | (uid.0 as u64) << 32;
        info
    }

    /// From a process, with a value: sigqueue(3), mq_notify(2).
    pub const fn queued(signal: Signal, code: i32, pid: Pid, uid: Uid, value: u64) -> Self {
        let mut info = Self::from_sender(signal, code, pid, uid);
        info.fields[1] = value;
        info
    }

    /// A fault at `addr`.
    pub const fn fault(signal: Signal, code: i32, addr: u64) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = addr;
        info
    }

    /// A child's change: `status` is the exit code or the signal; the times are in clock ticks of 10 ms.
    pub const fn child(code: i32, pid: Pid, uid: Uid, status: i32, utime: u64, stime: u64) -> Self {
        let mut info = Self::from_sender(Signal::CHLD, code, pid, uid);
        info.fields[1] = status as u32 as u64;
        info.fields[2] = utime;
        info.fields[3] = stime;
        info
    }

    /// A POSIX timer's expiry.
    pub const fn timer(signal: Signal, id: i32, overrun: i32, value: u64) -> Self {
        let mut info = Self::new(signal, SI_TIMER);
        info.fields[0] = id as u32 as u64 | (overrun as u32 as u64) << 32;
        info.fields[1] = value;
        info
    }

    /// Readiness of a descriptor (F_SETSIG): `si_band` is its events.
    pub const fn poll(signal: Signal, code: i32, band: u32, fd: Fd) -> Self {
        let mut info = Self::new(signal, code);
        info.fields[0] = band as u64;
        info.fields[1] = fd.0 as u32 as u64;
        info
    }

    /// The signal; `None` if a guest wrote nonsense.
    pub const fn signal(&self) -> Option<Signal> {
        Signal::new(self.signo)
    }

    /// `si_pid`.
    pub const fn pid(&self) -> i32 {
        self.fields[0] as i32
    }

    /// `si_uid`.
    pub const fn uid(&self) -> u32 {
        (self.fields[0] >> 32) as u32
    }

    /// `si_status` of a SIGCHLD; `si_value` of sigqueue(3) and timers has the same place.
    pub const fn status(&self) -> i32 {
        self.fields[1] as i32
    }

    /// `si_value`.
    pub const fn value(&self) -> u64 {
        self.fields[1]
    }

    /// `si_addr` of a fault.
    pub const fn addr(&self) -> u64 {
        self.fields[0]
    }

    /// `si_timerid` of SI_TIMER.
    pub const fn timer_id(&self) -> i32 {
        self.fields[0] as i32
    }

    /// `si_overrun` of SI_TIMER.
    pub const fn overrun(&self) -> i32 {
        (self.fields[0] >> 32) as i32
    }

    /// Replaces `si_overrun`.
    pub const fn set_overrun(&mut self, overrun: i32) {
        self.fields[0] = (self.fields[0] & 0xffff_ffff) | (overrun as u32 as u64) << 32;
    }

    /// `si_utime` and `si_stime` of a SIGCHLD.
    pub const fn child_times(&self) -> (u64, u64) {
        (self.fields[2], self.fields[3])
    }
}

/// Who sends, for [`SigInfo::from_sender`].
pub fn sender(t: &crate::task::Thread) -> (Pid, Uid) {
    (t.process().pid(), t.credentials().ruid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_abi_has_them() {
        let info = SigInfo::child(CLD_KILLED, Pid(7), Uid(1000), 9, 3, 4);
        assert_eq!((info.pid(), info.uid(), info.status()), (7, 1000, 9));
        assert_eq!(info.fields[0], 7 | 1000 << 32);
        let mut timer = SigInfo::timer(Signal::ALRM, 2, 0, 0x1234_5678_9abc);
        timer.set_overrun(5);
        assert_eq!((timer.timer_id(), timer.overrun(), timer.value()), (2, 5, 0x1234_5678_9abc));
    }
}
