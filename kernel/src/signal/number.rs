//! Signal numbers, their names, and what they do by default (signal(7)).

/// A signal number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(u8);

/// What an unhandled signal does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends and would dump core.
    Core,
    /// Nothing.
    Ignore,
    /// All threads stop.
    Stop,
    /// Stopped threads go on.
    Continue,
}

/// Number of signals.
pub const SIGNALS: usize = 64;

macro_rules! signals {
    ($($name:ident $number:literal $full:literal,)*) => {
        impl Signal {
            $(#[doc = $full] pub const $name: Signal = Signal($number);)*

            /// Its symbolic name, such as `SIGTERM`; real-time signals are `SIGRT`.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => $full,)*
                    _ => "SIGRT",
                }
            }
        }
    };
}

signals! {
    HUP 1 "SIGHUP", INT 2 "SIGINT", QUIT 3 "SIGQUIT", ILL 4 "SIGILL", TRAP 5 "SIGTRAP", ABRT 6 "SIGABRT",
    BUS 7 "SIGBUS", FPE 8 "SIGFPE", KILL 9 "SIGKILL", USR1 10 "SIGUSR1", SEGV 11 "SIGSEGV", USR2 12 "SIGUSR2",
    PIPE 13 "SIGPIPE", ALRM 14 "SIGALRM", TERM 15 "SIGTERM", STKFLT 16 "SIGSTKFLT", CHLD 17 "SIGCHLD",
    CONT 18 "SIGCONT", STOP 19 "SIGSTOP", TSTP 20 "SIGTSTP", TTIN 21 "SIGTTIN", TTOU 22 "SIGTTOU",
    URG 23 "SIGURG", XCPU 24 "SIGXCPU", XFSZ 25 "SIGXFSZ", VTALRM 26 "SIGVTALRM", PROF 27 "SIGPROF",
    WINCH 28 "SIGWINCH", IO 29 "SIGIO", PWR 30 "SIGPWR", SYS 31 "SIGSYS",
}

impl Signal {
    /// From a number of the guest's; `None` outside 1..=64.
    pub const fn new(number: i32) -> Option<Signal> {
        if number >= 1 && number <= SIGNALS as i32 { Some(Signal(number as u8)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// Index into a table of 64.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether several instances queue (SIGRTMIN to SIGRTMAX, signal(7)).
    pub const fn is_realtime(self) -> bool {
        self.0 >= 32
    }

    /// Whether it can be neither caught, blocked nor ignored.
    pub const fn is_unstoppable(self) -> bool {
        matches!(self, Signal::KILL | Signal::STOP)
    }

    /// Whether it comes from the instruction that the thread has just run, so that it is taken before all others.
    pub const fn is_synchronous(self) -> bool {
        matches!(self, Signal::SEGV | Signal::BUS | Signal::ILL | Signal::TRAP | Signal::FPE | Signal::SYS)
    }

    /// What it does where no handler is set.
    pub const fn default_action(self) -> DefaultAction {
        match self {
            Signal::CHLD | Signal::URG | Signal::WINCH => DefaultAction::Ignore,
            Signal::CONT => DefaultAction::Continue,
            Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => DefaultAction::Stop,
            Signal::QUIT
            | Signal::ILL
            | Signal::TRAP
            | Signal::ABRT
            | Signal::BUS
            | Signal::FPE
            | Signal::SEGV
            | Signal::XCPU
            | Signal::XFSZ
            | Signal::SYS => DefaultAction::Core,
            _ => DefaultAction::Terminate,
        }
    }
}

/// A set of signals; bit N−1 is signal N, as `sigset_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const ALL: SigSet = SigSet(u64::MAX);
    /// SIGKILL and SIGSTOP, which cannot be blocked.
    pub const UNSTOPPABLE: SigSet = SigSet::EMPTY.with(Signal::KILL).with(Signal::STOP);
    /// The stop signals of job control and SIGSTOP.
    pub const STOPS: SigSet = SigSet::EMPTY.with(Signal::STOP).with(Signal::TSTP).with(Signal::TTIN).with(Signal::TTOU);
    /// Signals of the instruction that has just run.
    pub const SYNCHRONOUS: SigSet = SigSet::EMPTY
        .with(Signal::SEGV)
        .with(Signal::BUS)
        .with(Signal::ILL)
        .with(Signal::TRAP)
        .with(Signal::FPE)
        .with(Signal::SYS);

    /// Whether `signal` is in it.
    pub const fn has(self, signal: Signal) -> bool {
        self.0 & (1 << signal.index()) != 0
    }

    /// This set and `signal`.
    #[must_use]
    pub const fn with(self, signal: Signal) -> SigSet {
        SigSet(self.0 | 1 << signal.index())
    }

    /// This set without `signal`.
    #[must_use]
    pub const fn without(self, signal: Signal) -> SigSet {
        SigSet(self.0 & !(1 << signal.index()))
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// What is here but not in `other`.
    #[must_use]
    pub const fn minus(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// Everything else.
    #[must_use]
    pub const fn complement(self) -> SigSet {
        SigSet(!self.0)
    }

    /// Whether it has no signal.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signal to take next: a synchronous one first, then the lowest number (signal(7)).
    pub const fn first(self) -> Option<Signal> {
        let synchronous = self.0 & SigSet::SYNCHRONOUS.0;
        let from = if synchronous != 0 { synchronous } else { self.0 };
        if from == 0 { None } else { Some(Signal(from.trailing_zeros() as u8 + 1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_number_their_bits_from_one() {
        assert_eq!(SigSet::EMPTY.with(Signal::HUP).0, 1);
        assert_eq!(SigSet::EMPTY.with(Signal::new(64).unwrap()).0, 1 << 63);
        assert_eq!(SigSet::UNSTOPPABLE.0, 1 << 8 | 1 << 18);
        assert!(Signal::new(0).is_none() && Signal::new(65).is_none() && Signal::new(-1).is_none());
    }

    #[test]
    fn synchronous_signals_come_first_then_the_lowest() {
        let set = SigSet::EMPTY.with(Signal::HUP).with(Signal::SEGV).with(Signal::USR2);
        assert_eq!(set.first(), Some(Signal::SEGV));
        assert_eq!(set.without(Signal::SEGV).first(), Some(Signal::HUP));
        assert_eq!(SigSet::EMPTY.first(), None);
    }

    #[test]
    fn default_actions_are_those_of_signal_7() {
        assert_eq!(Signal::CHLD.default_action(), DefaultAction::Ignore);
        assert_eq!(Signal::ABRT.default_action(), DefaultAction::Core);
        assert_eq!(Signal::TTOU.default_action(), DefaultAction::Stop);
        assert_eq!(Signal::new(40).unwrap().default_action(), DefaultAction::Terminate);
    }
}
