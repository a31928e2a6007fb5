//! Terminals and sessions (credentials(7), tcsetpgrp(3)): who controls a terminal, who is in the foreground.

use super::device::{OpenTty, Tty};
use crate::abi::ioctl as req;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::mm::UserPtr;
use crate::sched;
use crate::signal::Signal;
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Pid, Thread};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

const SIGHUP: Signal = Signal::HUP;
const SIGCONT: Signal = Signal::CONT;
const SIGTTIN: Signal = Signal::TTIN;
const SIGTTOU: Signal = Signal::TTOU;

/// The terminals that control a session.
static CONTROLLING: SpinLock<Vec<(Pid, Weak<Tty>)>> = SpinLock::new(Rank::FileLocks, Vec::new());

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
        Some(tty) => Ok(Arc::new(OpenTty(tty))),
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
    let Some(OpenTty(tty)) = file.ops().downcast_ref::<OpenTty>() else { return };
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

/// A session leader has ended: the foreground group hears of it, and the terminal is free (setsid(2)).
pub fn leader_exited(session: Pid) {
    if let Some(tty) = terminal_of(session) {
        let foreground = tty.state.lock().foreground;
        tty.give_up(session);
        if let Some(group) = foreground {
            crate::signal::send_to_group(group, SIGHUP);
            crate::signal::send_to_group(group, SIGCONT);
        }
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

    fn give_up(&self, session: Pid) {
        {
            let mut state = self.state.lock();
            state.session = None;
            state.foreground = None;
        }
        CONTROLLING.lock().retain(|(s, _)| *s != session);
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

    /// A read from the background: SIGTTIN for the group, or EIO where that would have no effect.
    pub(super) fn check_background_read(&self) -> Result<()> {
        match self.background_caller() {
            None => Ok(()),
            Some((t, _)) if crate::signal::ignores(t, SIGTTIN) => {
                Err(Errno::EIO.because("a background read with SIGTTIN ignored or blocked"))
            }
            Some((_, group)) => {
                crate::signal::send_to_group(group, SIGTTIN);
                Err(Errno::ERESTARTSYS.into())
            }
        }
    }

    /// A change (or, with TOSTOP, a write) from the background: SIGTTOU for the group, unless it ignores that.
    pub(super) fn check_background_change(&self) -> Result<()> {
        match self.background_caller() {
            Some((t, group)) if !crate::signal::ignores(t, SIGTTOU) => {
                crate::signal::send_to_group(group, SIGTTOU);
                Err(Errno::ERESTARTSYS.into())
            }
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
                if t.process().pid() == session {
                    leader_exited(session);
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
            self.give_up(owner);
        }
        self.take_over(session, t.process().group());
        Ok(())
    }
}
