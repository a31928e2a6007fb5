//! `appliance switch`: a learning ethernet switch between vhost-user ports and taps.
//!
//! One thread polls all ports in turn. A frame goes from the port's buffer straight into the rings of those that it is for:
//! it is copied twice, whatever the number of hops behind it. What a receiver lacks of offloads, its port does in
//! software; what is longer than a port's MTU is cut if it is TCP, and else counted and dropped, as a switch may not
//! fragment. A port that is full loses the frame: nobody waits for a slow neighbour.
//!
//! A hostile front-end can end its own connection. It sees frames that are for it, or for everybody, and no memory but its
//! own.

mod mirror;
mod port;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use netdrv::segment::{Fit, fit};
use netdrv::{FrameMeta, FrameSink, MacAddr, TxFrame, vhost_user};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::interrupt::Interrupt;
use mirror::Mirror;
use port::Port;
use table::StationTable;

/// Frames taken from a port before the next has its turn.
const BATCH: usize = 64;
/// Longest sleep, so that signals and counters have their turn.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// Polls between two looks at the clock while spinning.
const POLLS_PER_LOOK: u32 = 64;

/// How the switch waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls this long before it sleeps.
    Spin(Duration),
    /// Sleeps at once.
    Sleep,
}

impl std::str::FromStr for Idle {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let micros = word.strip_prefix("spin:").and_then(|us| us.parse::<u32>().ok());
        match (word, micros) {
            ("sleep", _) => Ok(Idle::Sleep),
            (_, Some(us)) => Ok(Idle::Spin(Duration::from_micros(us.into()))),
            _ => Err("the accepted forms are spin:MICROSECONDS and sleep".to_owned()),
        }
    }
}

/// What `appliance switch` was asked for.
#[derive(Debug)]
pub struct Options {
    pub ports: Vec<String>,
    pub mirror: Option<PathBuf>,
    pub idle: Idle,
    /// Between two tables of counters; one is printed at the end anyway.
    pub counters: Option<Duration>,
}

/// Opens the ports and forwards frames until Ctrl-C or SIGTERM.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.ports.len() < 2 {
        bail!("a switch has two ports at least");
    }
    let interrupt = Interrupt::install()?;
    vhost_user::install_fault_handler().context("cannot install a SIGBUS handler")?;
    let ports = options.ports.iter().map(|word| Port::open(word)).collect::<Result<Vec<Port>>>()?;
    let names: Vec<String> = ports.iter().map(|port| port.name.clone()).collect();
    let mirror = match &options.mirror {
        Some(path) => {
            let made = Mirror::create(path, &names);
            Some(made.with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    let mut switch = Switch { ports, table: StationTable::default(), mirror, now: Instant::now() };
    println!("ready: {}", names.join(" "));
    let mut shown = Instant::now();
    let spin = match options.idle {
        Idle::Spin(time) => time,
        Idle::Sleep => Duration::ZERO,
    };
    while !interrupt.raised() {
        switch.forward_for(spin);
        if options.counters.is_some_and(|every| shown.elapsed() >= every) {
            println!("{}", switch.counters());
            shown = Instant::now();
        }
        switch.sleep();
    }
    println!("{}", switch.counters());
    switch.flush_mirror();
    Ok(ExitCode::SUCCESS)
}

struct Switch {
    ports: Vec<Port>,
    table: StationTable,
    mirror: Option<Mirror>,
    /// As of the last look at the clock.
    now: Instant,
}

impl Switch {
    /// Forwards until nothing has come for `spin`.
    fn forward_for(&mut self, spin: Duration) {
        self.now = Instant::now();
        let mut last = self.now;
        let mut polls = 0;
        loop {
            if self.forward() {
                (last, polls) = (self.now, 0);
                self.now = Instant::now();
                // Others, such as counters and Ctrl-C, have a turn in the heaviest traffic, too.
                if self.now.duration_since(last) > Duration::from_millis(100) {
                    return;
                }
                last = self.now;
                continue;
            }
            polls += 1;
            if spin.is_zero() {
                return;
            }
            if polls % POLLS_PER_LOOK == 0 {
                self.now = Instant::now();
                if self.now.duration_since(last) >= spin {
                    return;
                }
            }
            std::hint::spin_loop();
        }
    }

    /// One turn of all ports; returns whether there was anything.
    fn forward(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.ports.len() {
            let Some(mut device) = self.ports[index].device.take() else { continue };
            match device.receive(BATCH, &mut Ingress { switch: self, port: index }) {
                Ok(frames) => any |= frames > 0,
                Err(e) => {
                    eprintln!("{}: {e}", self.ports[index].name);
                    self.table.forget_port(index);
                }
            }
            self.ports[index].device = Some(device);
        }
        any
    }

    /// Sleeps until a port has something.
    fn sleep(&mut self) {
        let mut ready = false;
        for device in self.ports.iter_mut().filter_map(|port| port.device.as_mut()) {
            ready |= device.prepare_sleep();
        }
        if ready {
            return;
        }
        let mut set = Vec::with_capacity(2 * self.ports.len());
        for device in self.ports.iter().filter_map(|port| port.device.as_ref()) {
            device.poll_fds(&mut |fd| set.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        // Interrupted or timed out: the caller goes round.
        if poll(&mut set, Some(&NAP)) == Ok(0) {
            self.flush_mirror();
        }
    }

    fn flush_mirror(&mut self) {
        if let Some(Err(e)) = self.mirror.as_mut().map(Mirror::flush) {
            self.end_mirror(&e);
        }
    }

    fn end_mirror(&mut self, error: &std::io::Error) {
        eprintln!("the mirror ends: {error}");
        self.mirror = None;
    }

    /// Takes one frame in.
    fn ingress(&mut self, from: usize, meta: FrameMeta, frame: &mut [u8]) {
        if let Some(mirror) = &mut self.mirror
            && let Err(e) = mirror.record(from, SystemTime::now(), frame)
        {
            self.end_mirror(&e);
        }
        let (Some(to), Some(source)) = (address(frame, 0), address(frame, 6)) else { return };
        self.table.learn(source, from, self.now);
        match self.table.port_of(to, self.now).filter(|_| !to.is_group()) {
            Some(port) if port == from => {}
            Some(port) => self.egress(port, meta, frame),
            None => {
                self.ports[from].flooded += 1;
                for port in (0..self.ports.len()).filter(|&port| port != from) {
                    self.egress(port, meta, frame);
                }
            }
        }
    }

    /// Sends one frame out of `port`.
    fn egress(&mut self, port: usize, meta: FrameMeta, frame: &mut [u8]) {
        let port = &mut self.ports[port];
        let Some(device) = &mut port.device else { return };
        let meta = match fit(meta, frame, port.mtu) {
            Fit::AsIs => meta,
            Fit::Cut(meta) => meta,
            Fit::TooLong => {
                port.too_long += 1;
                return;
            }
        };
        // A port that is down loses what is for it, as an unplugged cable does.
        if device.transmit(&[TxFrame { meta, parts: &[frame] }]) == Ok(0) {
            port.full += 1;
        }
    }

    /// All counters as a table.
    fn counters(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header([
            "port",
            "stations",
            "in",
            "in bytes",
            "in dropped",
            "in errors",
            "out",
            "out bytes",
            "out dropped",
            "out errors",
            "full",
            "too long",
            "flooded",
        ]);
        for (index, port) in self.ports.iter().enumerate() {
            let s = port.stats();
            let numbers = [
                self.table.behind(index) as u64,
                s.rx_packets,
                s.rx_bytes,
                s.rx_dropped,
                s.rx_errors,
                s.tx_packets,
                s.tx_bytes,
                s.tx_dropped,
                s.tx_errors,
                port.full,
                port.too_long,
                port.flooded,
            ];
            table.add_row(std::iter::once(port.name.clone()).chain(numbers.map(|n| n.to_string())));
        }
        table
    }
}

/// Where the frames of one port go.
struct Ingress<'a> {
    switch: &'a mut Switch,
    port: usize,
}

impl FrameSink for Ingress<'_> {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        self.switch.ingress(self.port, meta, bytes);
    }
}

fn address(frame: &[u8], at: usize) -> Option<MacAddr> {
    Some(MacAddr(*frame.get(at..at + 6)?.first_chunk()?))
}
