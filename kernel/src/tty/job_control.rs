//! Terminals and sessions (credentials(7), tcsetpgrp(3)): who controls a terminal, who is in the foreground.

use super::device::Tty;
use super::file::OpenTty;
use crate::abi::ioctl as req;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::mm::UserPtr;
use crate::sched;
use crate::signal::{self, SigInfo, Signal};
use crate::sync::{Rank, SpinLock};
use crate::task::{self, Capability, Pid, Thread};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The terminals that control a session.
static CONTROLLING: SpinLock<Vec<(Pid, Weak<Tty>)>> = SpinLock::new(Rank::FileLocks, Vec::new());

/// Sessions whose terminal has hung up, with the group that was in the foreground then: it hears of the leader's end.
static HUNG_UP: SpinLock<Vec<(Pid, Pid)>> = SpinLock::new(Rank::FileLocks, Vec::new());

/// The terminal that controls `session`.
pub(super) fn terminal_of(session: Pid) -> Option<Arc<Tty>> {
    let list = CONTROLLING.lock();
    list.iter().find(|(s, _)| *s == session).and_then(|(_, tty)| tty.upgrade())
}

/// Device number of a session's terminal and the group in its foreground, as proc_pid_stat(5) has them: 0 and -1 where
/// there is none.
pub fn number_of_session(session: Pid) -> (u64, i32) {
    match terminal_of(session) {
        Some(tty) => (tty.number().0, tty.state.lock().foreground.map_or(-1, |g| g.0)),
        None => (0, -1),
    }
}

/// Opens /dev/tty: the caller's controlling terminal. ENXIO without one.
pub(super) fn open_own_terminal() -> Result<Arc<dyn FileOps>> {
    let t = sched::current().ok_or(Errno::ENXIO)?;
    match terminal_of(t.process().session()) {
        Some(tty) => Ok(Arc::new(OpenTty::new(tty))),
        None => Err(Errno::ENXIO.because("the session has no controlling terminal")),
    }
}

/// Makes the console the controlling terminal of init's session, with init in the foreground, so that a shell as init
/// has job control.
pub fn set_init_session(init: Pid) {
    super::console().take_over(init, init);
}

/// After open(2): a session leader without a terminal gets the one that it opens, unless it says O_NOCTTY. The console
/// is not taken this way, as on Linux.
pub fn opened(t: &Thread, file: &OpenFile, flags: OpenFlags) {
    let Some(OpenTty { tty, .. }) = file.ops().downcast_ref() else { return };
    let p = t.process();
    let leader = p.session() == p.pid();
    let is_console = core::ptr::eq(&raw const **tty, &raw const **super::console());
    if flags.contains(OpenFlags::NOCTTY) || !leader || is_console || !flags.readable() {
        return;
    }
    if terminal_of(p.session()).is_none() && tty.state.lock().session.is_none() {
        tty.take_over(p.session(), p.group());
    }
}

/// SIGHUP and SIGCONT for a group.
fn hang_up_group(group: Pid) {
    signal::send_to_group(group, Signal::HUP);
    signal::send_to_group(group, Signal::CONT);
}

/// A session leader has ended: the foreground group hears of it, and the terminal is free (setsid(2)).
pub fn leader_exited(session: Pid) {
    let at_hangup = {
        let mut list = HUNG_UP.lock();
        let at = list.iter().position(|(s, _)| *s == session);
        at.map(|i| list.swap_remove(i).1)
    };
    if let Some(group) = at_hangup {
        hang_up_group(group);
    }
    if let Some(group) = terminal_of(session).and_then(|tty| tty.release(session)) {
        signal::send_to_group(group, Signal::HUP);
    }
}

/// vhangup(2): the caller's controlling terminal hangs up; nothing happens if there is none.
pub fn hang_up_own(t: &Thread) {
    if let Some(tty) = terminal_of(t.process().session()) {
        tty.hang_up();
    }
}

impl Tty {
    fn take_over(&self, session: Pid, foreground: Pid) {
        {
            let mut state = self.state.lock();
            state.session = Some(session);
            state.foreground = Some(foreground);
        }
        if let Some(me) = self.arc() {
            let mut list = CONTROLLING.lock();
            list.retain(|(s, tty)| *s != session && tty.strong_count() > 0);
            list.push((session, Arc::downgrade(&me)));
        }
    }

    /// Ends the bond with a session; returns the group that was in the foreground.
    fn release(&self, session: Pid) -> Option<Pid> {
        let foreground = {
            let mut state = self.state.lock();
            state.session = None;
            state.foreground.take()
        };
        CONTROLLING.lock().retain(|(s, _)| *s != session);
        foreground
    }

    /// The terminal has hung up: the session's leader hears of it and loses the terminal. The foreground group will hear
    /// of the leader's end.
    pub(super) fn disown(&self, session: Pid) {
        let foreground = self.release(session);
        let Some(leader) = task::find_process(session).filter(|p| p.exited().is_none()) else { return };
        if let Some(group) = foreground {
            HUNG_UP.lock().push((session, group));
        }
        for signal in [Signal::HUP, Signal::CONT] {
            // A full queue loses the signal, as it does on Linux.
            let _ = signal::send_to_process(&leader, signal, SigInfo::kernel(signal));
        }
    }

    /// EBUSY if somebody has the terminal for himself (TIOCEXCL) and the caller is not privileged.
    pub(super) fn check_exclusive(&self) -> Result<()> {
        let privileged = sched::current().is_none_or(|t| t.credentials().capable(Capability::SysAdmin));
        if self.state.lock().exclusive && !privileged {
            return Err(Errno::EBUSY.because("TIOCEXCL"));
        }
        Ok(())
    }

    /// Whether the calling thread is in a background group of this terminal's session; its group then.
    fn background_caller(&self) -> Option<(&'static Thread, Pid)> {
        let t = sched::current()?;
        let (session, group) = (t.process().session(), t.process().group());
        let state = self.state.lock();
        let background = state.session == Some(session) && state.foreground.is_some_and(|f| f != group);
        drop(state);
        background.then_some((t, group))
    }

    /// The signal for a background group, or EIO where nobody could continue it.
    fn stop_background(group: Pid, signal: Signal) -> Result<()> {
        if task::is_orphaned_group(group, None) {
            return Err(Errno::EIO.because("an orphaned process group in the background"));
        }
        signal::send_to_group(group, signal);
        Err(Errno::ERESTARTSYS.into())
    }

    /// A read from the background: SIGTTIN for the group, or EIO where that would have no effect.
    pub(super) fn check_background_read(&self) -> Result<()> {
        match self.background_caller() {
            None => Ok(()),
            Some((t, _)) if signal::ignores(t, Signal::TTIN) => {
                Err(Errno::EIO.because("a background read with SIGTTIN ignored or blocked"))
            }
            Some((_, group)) => Self::stop_background(group, Signal::TTIN),
        }
    }

    /// A change (or, with TOSTOP, a write) from the background: SIGTTOU for the group, unless it ignores that.
    pub(super) fn check_background_change(&self) -> Result<()> {
        match self.background_caller() {
            Some((t, group)) if !signal::ignores(t, Signal::TTOU) => Self::stop_background(group, Signal::TTOU),
            _ => Ok(()),
        }
    }

    /// The calls about sessions and groups.
    pub(super) fn control_session(&self, t: &Thread, request: u32, arg: usize) -> Result<usize> {
        let session = t.process().session();
        let mine = self.state.lock().session == Some(session);
        match request {
            req::TIOCGPGRP => {
                if !mine {
                    return Err(Errno::ENOTTY.because("not the caller's controlling terminal"));
                }
                let group = self.state.lock().foreground.map_or(0, |g| g.0);
                UserPtr::<i32>::new(arg).write(group)?;
            }
            req::TIOCSPGRP => {
                if !mine {
                    return Err(Errno::ENOTTY.because("not the caller's controlling terminal"));
                }
                self.check_background_change()?;
                let group = Pid(UserPtr::<i32>::new(arg).read()?);
                if group.0 < 0 {
                    return Err(Errno::EINVAL.into());
                }
                match crate::task::session_of_group(group) {
                    Some(s) if s == session => self.state.lock().foreground = Some(group),
                    Some(_) => return Err(Errno::EPERM.because("the group is of another session")),
                    None => return Err(Errno::ESRCH.into()),
                }
            }
            req::TIOCGSID => {
                if !mine {
                    return Err(Errno::ENOTTY.because("not the caller's controlling terminal"));
                }
                UserPtr::<i32>::new(arg).write(session.0)?;
            }
            req::TIOCSCTTY => self.set_controlling(t, session, arg)?,
            req::TIOCNOTTY => {
                if !mine {
                    return Err(Errno::ENOTTY.because("not the caller's controlling terminal"));
                }
                if t.process().pid() == session
                    && let Some(group) = self.release(session)
                {
                    hang_up_group(group);
                }
            }
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }

    fn set_controlling(&self, t: &Thread, session: Pid, steal: usize) -> Result<()> {
        let owner = self.state.lock().session;
        if owner == Some(session) {
            return Ok(());
        }
        if t.process().pid() != session || terminal_of(session).is_some() {
            return Err(Errno::EPERM.because("not a session leader, or it has a terminal already"));
        }
        if let Some(owner) = owner {
            if steal != 1 || !t.credentials().capable(Capability::SysAdmin) {
                return Err(Errno::EPERM.because("the terminal controls another session"));
            }
            self.release(owner);
        }
        self.take_over(session, t.process().group());
        Ok(())
    }
}
