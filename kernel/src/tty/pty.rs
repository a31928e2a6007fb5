//! Pseudo-terminals (pty(7)): a terminal whose device is another program.
//!
//! Theory of operation. Opening /dev/ptmx makes a [`Tty`] (the slave, `/dev/pts/N`) and a [`Master`]. What is written to
//! the master is the terminal's input; what the terminal puts out goes into a bounded queue that the master reads. The
//! [`Link`] between the two holds that queue, who has which side open, and in packet mode (TIOCPKT) what the master has
//! not been told yet. The terminal lives as long as either side is open. When the last slave closes, the master reads
//! what is left, then EIO, until a slave is opened again. When the master closes, the terminal hangs up and its node goes.
//!
//! Locks: the link's, rank `Pipe`, is inside the terminal's; the list of terminals, rank `FileLocks`, holds neither.

use super::device::{Change, Tty, TtyDevice};
use super::file::OpenTty;
use crate::abi::general as abi;
use crate::abi::ioctl as req;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::inode::DeviceNumber;
use crate::fs::poll::{PollEvents, PollWatch};
use crate::fs::{Actor, Path, Resolve, devpts, mount};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::sched::{self, WaitQueue};
use crate::signal::Signal;
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Resource, Thread};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Output that the master has not read yet, in bytes; writers to the slave wait beyond that.
const OUTPUT_MAX: usize = 12288;

/// As much of it as a flush (^C, tcflush) leaves: Linux drops what has not reached the master's own buffer.
const OUTPUT_KEPT: usize = 4096;

/// Echo beyond `OUTPUT_MAX` is dropped at this point: a master that never reads shall not fill the memory.
const ECHO_MAX: usize = 2 * OUTPUT_MAX;

/// How much of the input a write to the master brings in at once.
const CHUNK: usize = 1024;

static TERMINALS: SpinLock<BTreeMap<u32, Weak<Master>>> = SpinLock::new(Rank::FileLocks, BTreeMap::new());

#[derive(Default)]
struct Ends {
    output: VecDeque<u8>,
    slaves: usize,
    /// A slave was open and none is now: the master reads EIO.
    slave_closed: bool,
    master_closed: bool,
    locked: bool,
    /// Each read of the master begins with a byte that says what it brings (TIOCPKT).
    packets: bool,
    /// `TIOCPKT_*` of what happened since the last such byte.
    news: u8,
}

struct Link {
    ends: SpinLock<Ends>,
    /// Who waits at the master.
    master_queue: Arc<WaitQueue>,
}

/// The slave's device.
struct Slave(Arc<Link>);

impl TtyDevice for Slave {
    fn output(&self, bytes: &[u8]) -> usize {
        {
            let mut ends = self.0.ends.lock();
            if ends.master_closed {
                return 0;
            }
            let room = ECHO_MAX.saturating_sub(ends.output.len());
            ends.output.extend(&bytes[..bytes.len().min(room)]);
        }
        self.0.master_queue.wake(PollEvents::READABLE);
        bytes.len()
    }

    fn room(&self) -> usize {
        OUTPUT_MAX.saturating_sub(self.0.ends.lock().output.len())
    }

    fn is_gone(&self) -> bool {
        self.0.ends.lock().master_closed
    }

    fn input_taken(&self) {
        self.0.master_queue.wake(PollEvents::WRITABLE);
    }

    fn opened(&self) {
        let mut ends = self.0.ends.lock();
        ends.slaves += 1;
        ends.slave_closed = false;
    }

    fn closed(&self) {
        {
            let mut ends = self.0.ends.lock();
            ends.slaves -= 1;
            ends.slave_closed = ends.slaves == 0;
            if !ends.slave_closed {
                return;
            }
            ends.packets = false;
        }
        self.0.master_queue.wake(PollEvents::READABLE | PollEvents::HUP);
    }

    fn changed(&self, change: Change) {
        let mut ends = self.0.ends.lock();
        if change == Change::OutputFlushed {
            ends.output.truncate(OUTPUT_KEPT);
        }
        if !ends.packets {
            return;
        }
        let (gone, come) = match change {
            Change::InputFlushed => (0, abi::TIOCPKT_FLUSHREAD),
            Change::OutputFlushed => (0, abi::TIOCPKT_FLUSHWRITE),
            Change::Stopped(true) => (abi::TIOCPKT_START, abi::TIOCPKT_STOP),
            Change::Stopped(false) => (abi::TIOCPKT_STOP, abi::TIOCPKT_START),
            Change::FlowKeys(true) => (abi::TIOCPKT_NOSTOP, abi::TIOCPKT_DOSTOP),
            Change::FlowKeys(false) => (abi::TIOCPKT_DOSTOP, abi::TIOCPKT_NOSTOP),
        };
        ends.news = (ends.news & !(gone as u8)) | come as u8;
        drop(ends);
        self.0.master_queue.wake(PollEvents::READABLE | PollEvents::PRI);
    }
}

/// The master side; one description has it, however many descriptors.
pub struct Master {
    index: u32,
    tty: Arc<Tty>,
    link: Arc<Link>,
}

/// Opens /dev/ptmx: a new terminal, whose slave is locked until TIOCSPTLCK. ENOSPC if there are too many.
pub(super) fn open_master() -> Result<Arc<dyn FileOps>> {
    let t = sched::current().ok_or(Errno::ENXIO)?;
    let index = {
        let mut all = TERMINALS.lock();
        let index = (0..devpts::max()).find(|i| !all.contains_key(i));
        let index = index.ok_or(Errno::ENOSPC.because("as many pseudo-terminals as kernel.pty.max"))?;
        // The number is taken from here on.
        all.insert(index, Weak::new());
        index
    };
    let ends = Ends { locked: true, ..Ends::default() };
    let link = Arc::new(Link { ends: SpinLock::new(Rank::Pipe, ends), master_queue: Arc::new(WaitQueue::new()) });
    let number = DeviceNumber::new(devpts::SLAVE_MAJOR, index);
    // Nobody has said how large it is.
    let tty = Tty::new(&format!("pts/{index}"), number, (0, 0), Box::new(Slave(link.clone())));
    let master = Arc::new(Master { index, tty, link });
    TERMINALS.lock().insert(index, Arc::downgrade(&master));
    let credentials = t.credentials();
    devpts::add(index, credentials.fsuid, credentials.fsgid)?;
    Ok(master)
}

/// Opens a slave. EIO if it is locked or its master is gone, EBUSY if somebody has it for himself (TIOCEXCL).
pub(super) fn open_slave(number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let master = TERMINALS.lock().get(&number.minor()).and_then(Weak::upgrade);
    let master = master.ok_or(Errno::EIO.because("the master is closed"))?;
    if master.link.ends.lock().locked {
        return Err(Errno::EIO.because("the slave is locked"));
    }
    master.tty.check_exclusive()?;
    Ok(Arc::new(OpenTty::new(master.tty.clone())))
}

/// How many pseudo-terminals there are (`kernel.pty.nr`).
pub fn count() -> usize {
    TERMINALS.lock().len()
}

impl Drop for Master {
    fn drop(&mut self) {
        {
            let mut ends = self.link.ends.lock();
            ends.master_closed = true;
            ends.output.clear();
        }
        // The node may be gone already: a program may remove it.
        let _ = devpts::remove(self.index);
        TERMINALS.lock().remove(&self.index);
        self.tty.hang_up();
    }
}

impl Master {
    /// TIOCGPTPEER: the slave, opened through the master, wherever devpts is mounted.
    fn open_peer(&self, t: &Thread, flags: u32) -> Result<usize> {
        let flags = OpenFlags::from_bits_retain(flags);
        let devpts = mount::list().into_iter().find(|m| m.fs().type_name() == devpts::TYPE_NAME);
        let devpts = devpts.ok_or(Errno::EIO.because("devpts is not mounted"))?;
        let name = format!("{}", self.index);
        let base = Path::mount_root(&devpts);
        let file = Actor::kernel().open(Some(&base), name.as_bytes(), flags, 0, Resolve::empty())?;
        super::opened(t, &file, flags);
        let limit = t.process().rlimits().get(Resource::OpenFiles).rlim_cur;
        Ok(t.files().add(file, flags.contains(OpenFlags::CLOEXEC), limit)?.0 as usize)
    }

    fn signal_foreground(&self, number: usize) -> Result<()> {
        let signal = i32::try_from(number).ok().and_then(Signal::new).ok_or(Errno::EINVAL)?;
        if ![Signal::INT, Signal::QUIT, Signal::TSTP].contains(&signal) {
            return Err(Errno::EINVAL.because("a terminal sends SIGINT, SIGQUIT and SIGTSTP"));
        }
        let group = self.tty.state.lock().foreground;
        if let Some(group) = group {
            crate::signal::send_to_group(group, signal);
        }
        Ok(())
    }

    fn set_packets(&self, on: bool) {
        let mut ends = self.link.ends.lock();
        if on && !ends.packets {
            ends.news = 0;
        }
        ends.packets = on;
    }

    /// tcflush(3) at the master: its input is the slave's output, its output the slave's input.
    fn flush(&self, queue: u32) -> Result<()> {
        if ![abi::TCIFLUSH, abi::TCOFLUSH, abi::TCIOFLUSH].contains(&queue) {
            return Err(Errno::EINVAL.into());
        }
        if queue != abi::TCOFLUSH {
            self.link.ends.lock().output.clear();
            self.tty.output_drained();
        }
        if queue != abi::TCIFLUSH {
            self.tty.state.lock().discipline.flush_backlog();
        }
        Ok(())
    }

    /// tcflow(3) at the master: it can send the slave ^S and ^Q.
    fn flow(&self, action: u32) -> Result<()> {
        match action {
            abi::TCOOFF | abi::TCOON => {}
            abi::TCIOFF => self.tty.receive(&[19]),
            abi::TCION => self.tty.receive(&[17]),
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(())
    }
}

impl FileOps for Master {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let (news, bytes) = {
            let mut ends = self.link.ends.lock();
            if ends.packets && ends.news != 0 {
                (Some(core::mem::take(&mut ends.news)), Vec::new())
            } else if ends.output.is_empty() {
                let closed = ends.slave_closed;
                return Err(if closed {
                    Errno::EIO.because("no slave is open any more")
                } else {
                    Errno::EAGAIN.into()
                });
            } else {
                let header = ends.packets.then_some(abi::TIOCPKT_DATA as u8);
                let n = ends.output.len().min(dst.remaining() - usize::from(header.is_some()));
                (header, ends.output.drain(..n).collect())
            }
        };
        let given = news.map_or(Ok(0), |b| dst.put(&[b])).and_then(|n| Ok(n + dst.put(&bytes)?));
        if given.is_err() {
            let mut ends = self.link.ends.lock();
            bytes.iter().rev().for_each(|b| ends.output.push_front(*b));
            return given;
        }
        self.tty.output_drained();
        given
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        let mut done = 0;
        let mut chunk = [0u8; CHUNK];
        while !src.is_empty() {
            let room = self.tty.input_room().min(CHUNK);
            if room == 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN.into()) };
            }
            match src.take(&mut chunk[..room]) {
                Ok(n) => {
                    self.tty.receive(&chunk[..n]);
                    done += n;
                }
                Err(_) if done > 0 => return Ok(done),
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.link.master_queue);
        let mut events = PollEvents::empty();
        {
            let ends = self.link.ends.lock();
            events.set(PollEvents::READABLE, !ends.output.is_empty());
            if ends.packets && ends.news != 0 {
                events |= PollEvents::READABLE | PollEvents::PRI;
            }
            events.set(PollEvents::HUP, ends.slave_closed);
        }
        events.set(PollEvents::WRITABLE, self.tty.input_room() > 0);
        events
    }

    fn label(&self) -> String {
        String::from("/dev/ptmx")
    }

    fn fd_info(&self) -> String {
        format!("tty-index:\t{}\n", self.index)
    }

    fn ioctl(&self, t: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        match request {
            req::TIOCGPTN => UserPtr::<u32>::new(arg).write(self.index)?,
            req::TIOCSPTLCK => {
                let locked = UserPtr::<i32>::new(arg).read()? != 0;
                self.link.ends.lock().locked = locked;
            }
            req::TIOCGPTLCK => {
                let locked = self.link.ends.lock().locked;
                UserPtr::<i32>::new(arg).write(i32::from(locked))?;
            }
            req::TIOCGPTPEER => return self.open_peer(t, arg as u32),
            req::TIOCSIG => self.signal_foreground(arg)?,
            req::TIOCPKT => self.set_packets(UserPtr::<i32>::new(arg).read()? != 0),
            req::TIOCGPKT => {
                let on = self.link.ends.lock().packets;
                UserPtr::<i32>::new(arg).write(i32::from(on))?;
            }
            req::FIONREAD => {
                let n = self.link.ends.lock().output.len();
                UserPtr::<i32>::new(arg).write(n as i32)?;
            }
            req::TCFLSH => self.flush(arg as u32)?,
            req::TCXONC => self.flow(arg as u32)?,
            req::TIOCGDEV => {
                // ptmx_fops' own devices (devices.txt): UNIX98 masters.
                UserPtr::<u32>::new(arg).write(DeviceNumber::new(128, self.index).0 as u32)?;
            }
            // The master sees the foreground group and session of the slave, whoever asks.
            req::TIOCGPGRP => {
                let group = self.tty.state.lock().foreground.map_or(0, |g| g.0);
                UserPtr::<i32>::new(arg).write(group)?;
            }
            req::TIOCGSID => {
                let session = self.tty.state.lock().session.ok_or(Errno::ENOTTY)?;
                UserPtr::<i32>::new(arg).write(session.0)?;
            }
            req::TIOCNOTTY => return Err(Errno::ENOTTY.because("a master controls nobody")),
            req::TIOCVHANGUP if t.credentials().capable(Capability::SysAdmin) => {
                return Err(Errno::EINVAL.because("a master is closed, not hung up"));
            }
            _ => return self.tty.control(t, request, arg),
        }
        Ok(0)
    }
}
