//! Options that every socket has, whatever its family: the part of `SOL_SOCKET` (socket(7)) that no protocol acts on,
//! timeouts, and options that are only kept to be returned.

use super::{ControlMessage, SocketFile};
use crate::abi::net::{
    SO_BUSY_POLL, SO_COOKIE, SO_DEBUG, SO_DOMAIN, SO_DONTROUTE, SO_INCOMING_CPU, SO_MARK, SO_MAX_PACING_RATE,
    SO_NO_CHECK, SO_OOBINLINE, SO_PRIORITY, SO_PROTOCOL, SO_RCVTIMEO_NEW, SO_RCVTIMEO_OLD, SO_RXQ_OVFL,
    SO_SNDTIMEO_NEW, SO_SNDTIMEO_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPNS_OLD,
    SO_TYPE, SO_ZEROCOPY,
};
use crate::error::{Errno, Result};
use crate::fs::file::Direction;
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Thread};
use crate::time::Duration;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// `SOL_SOCKET`.
pub const SOL_SOCKET: i32 = 1;

/// What setsockopt(2) was given: `optlen` bytes, of which at least the first 256 are here.
#[derive(Clone, Copy, Debug)]
pub struct OptionValue<'a>(pub &'a [u8]);

impl OptionValue<'_> {
    /// An `int`. EINVAL if it is not all there.
    pub fn int(&self) -> Result<i32> {
        let bytes = self.0.first_chunk().ok_or(Errno::EINVAL.because("the option is an int"))?;
        Ok(i32::from_ne_bytes(*bytes))
    }

    /// An `int`, or a single byte, as the options of IPPROTO_IP allow.
    pub fn int_or_byte(&self) -> Result<i32> {
        match self.0 {
            [] => Err(Errno::EINVAL.because("the option has no value")),
            [byte] | [byte, _] | [byte, _, _] => Ok(i32::from(*byte)),
            _ => self.int(),
        }
    }

    /// Two `int`s. EINVAL if they are not all there.
    pub fn ints(&self) -> Result<(i32, i32)> {
        match self.0.get(4..) {
            Some(second) => Ok((self.int()?, OptionValue(second).int()?)),
            None => Err(Errno::EINVAL.because("the option is two ints")),
        }
    }

    /// A string, up to its NUL or the end.
    pub fn text(&self) -> &[u8] {
        self.0.split(|&b| b == 0).next().unwrap_or_default()
    }
}

/// An option that is kept to be returned: level, name, least and greatest value, default.
pub(super) type KeptOption = (i32, u32, i32, i32, i32);

/// The values of kept options that were set.
pub(super) struct Kept {
    known: &'static [KeptOption],
    values: SpinLock<Vec<(i32, u32, i32)>>,
}

impl Kept {
    pub(super) fn new(known: &'static [KeptOption]) -> Self {
        Kept { known, values: SpinLock::new(Rank::Socket, Vec::new()) }
    }

    fn find(&self, level: i32, name: i32) -> Option<&'static KeptOption> {
        self.known.iter().find(|k| k.0 == level && k.1 as i32 == name)
    }

    /// Keeps a value; `None` if the option is not one of these. EINVAL outside its range; flags are any int.
    pub(super) fn set(&self, level: i32, name: i32, value: &OptionValue<'_>) -> Option<Result<()>> {
        let &(_, name, least, greatest, _) = self.find(level, name)?;
        let parsed = if level == 0 { value.int_or_byte() } else { value.int() };
        Some(parsed.and_then(|v| {
            let v = if (least, greatest) == (0, 1) { i32::from(v != 0) } else { v };
            if !(least..=greatest).contains(&v) {
                return Err(Errno::EINVAL.because("the option's value is out of range"));
            }
            let mut values = self.values.lock();
            match values.iter_mut().find(|x| (x.0, x.1) == (level, name)) {
                Some(old) => old.2 = v,
                None => values.push((level, name, v)),
            }
            Ok(())
        }))
    }

    /// The value of an option; `None` if it is not one of these.
    pub(super) fn get(&self, level: i32, name: i32) -> Option<i32> {
        let &(_, name, _, _, default) = self.find(level, name)?;
        let values = self.values.lock();
        Some(values.iter().find(|x| (x.0, x.1) == (level, name)).map_or(default, |x| x.2))
    }

    /// Whether an option of these is set.
    pub(super) fn is_set(&self, level: i32, name: u32) -> bool {
        self.get(level, name as i32).is_some_and(|v| v != 0)
    }

    fn copy(&self) -> Self {
        Kept { known: self.known, values: SpinLock::new(Rank::Socket, self.values.lock().clone()) }
    }
}

const COMMON: &[KeptOption] = &[
    (SOL_SOCKET, SO_DEBUG, 0, 1, 0),
    (SOL_SOCKET, SO_DONTROUTE, 0, 1, 0),
    (SOL_SOCKET, SO_OOBINLINE, 0, 1, 0),
    (SOL_SOCKET, SO_NO_CHECK, 0, 1, 0),
    (SOL_SOCKET, SO_PRIORITY, i32::MIN, i32::MAX, 0),
    (SOL_SOCKET, SO_MARK, i32::MIN, i32::MAX, 0),
    (SOL_SOCKET, SO_RXQ_OVFL, 0, 1, 0),
    (SOL_SOCKET, SO_BUSY_POLL, 0, i32::MAX, 0),
    (SOL_SOCKET, SO_TIMESTAMP_OLD, 0, 1, 0),
    (SOL_SOCKET, SO_TIMESTAMP_NEW, 0, 1, 0),
    (SOL_SOCKET, SO_TIMESTAMPNS_OLD, 0, 1, 0),
    (SOL_SOCKET, SO_TIMESTAMPNS_NEW, 0, 1, 0),
];

/// A timeout that is not set.
const NO_TIMEOUT: u64 = u64::MAX;

/// What [`SocketFile`] itself keeps.
pub(super) struct CommonOptions {
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
    kept: Kept,
}

impl Default for CommonOptions {
    fn default() -> Self {
        CommonOptions {
            receive_timeout: AtomicU64::new(NO_TIMEOUT),
            send_timeout: AtomicU64::new(NO_TIMEOUT),
            kept: Kept::new(COMMON),
        }
    }
}

impl CommonOptions {
    /// What a socket starts with that a listener with these accepted.
    pub(super) fn inherit(&self) -> Self {
        CommonOptions {
            receive_timeout: AtomicU64::new(self.receive_timeout.load(Ordering::Relaxed)),
            send_timeout: AtomicU64::new(self.send_timeout.load(Ordering::Relaxed)),
            kept: self.kept.copy(),
        }
    }

    fn slot(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.receive_timeout,
            Direction::Write => &self.send_timeout,
        }
    }

    /// `SO_RCVTIMEO` or `SO_SNDTIMEO`.
    pub(super) fn timeout(&self, direction: Direction) -> Option<Duration> {
        let nanos = self.slot(direction).load(Ordering::Relaxed);
        (nanos != NO_TIMEOUT).then(|| Duration::from_nanos(nanos))
    }

    /// Sets a timeout from a `struct timeval`; EDOM if its microseconds are out of range. Zero is no timeout, and a
    /// negative one has passed already.
    fn set_timeout(&self, direction: Direction, value: &OptionValue<'_>) -> Result<()> {
        let (Some(seconds), Some(micros)) = (value.0.get(..8), value.0.get(8..16)) else {
            return Err(Errno::EINVAL.because("the option is a struct timeval"));
        };
        let field = |b: &[u8]| b.first_chunk().map_or(0, |b| i64::from_ne_bytes(*b));
        let (seconds, micros) = (field(seconds), field(micros));
        if !(0..1_000_000).contains(&micros) {
            return Err(Errno::EDOM.because("tv_usec is not below a million"));
        }
        let nanos = match u64::try_from(seconds) {
            Ok(0) if micros == 0 => NO_TIMEOUT,
            Ok(s) => s.saturating_mul(1_000_000_000).saturating_add(micros as u64 * 1000),
            Err(_) => 0,
        };
        self.slot(direction).store(nanos, Ordering::Relaxed);
        Ok(())
    }

    fn timeout_bytes(&self, direction: Direction) -> Vec<u8> {
        let timeout = self.timeout(direction).unwrap_or_default();
        let seconds = (timeout.as_secs() as i64).to_ne_bytes();
        [seconds, i64::from(timeout.subsec_micros()).to_ne_bytes()].concat()
    }
}

/// Which way a timeout option goes.
fn timeout_direction(level: i32, name: i32) -> Option<Direction> {
    match name as u32 {
        SO_RCVTIMEO_OLD | SO_RCVTIMEO_NEW if level == SOL_SOCKET => Some(Direction::Read),
        SO_SNDTIMEO_OLD | SO_SNDTIMEO_NEW if level == SOL_SOCKET => Some(Direction::Write),
        _ => None,
    }
}

/// What timestamps a program wants with its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timestamps {
    /// `struct timeval`, under this `cmsg_type`.
    Micros(u32),
    /// `struct timespec`, under this `cmsg_type`.
    Nanos(u32),
}

impl Timestamps {
    /// The ancillary data that tells `wall`, time since 1970.
    pub fn message(self, wall: Duration) -> ControlMessage {
        let (kind, fraction) = match self {
            Timestamps::Micros(kind) => (kind, wall.subsec_micros()),
            Timestamps::Nanos(kind) => (kind, wall.subsec_nanos()),
        };
        let data = [(wall.as_secs() as i64).to_ne_bytes(), i64::from(fraction).to_ne_bytes()].concat();
        ControlMessage { level: SOL_SOCKET, kind: kind as i32, data }
    }
}

impl SocketFile {
    /// setsockopt(2).
    pub fn set_option(&self, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
        if let Some(direction) = timeout_direction(level, name) {
            return self.common.set_timeout(direction, value);
        }
        if level == SOL_SOCKET {
            let admin = || {
                let who = t.credentials();
                who.capable(Capability::NetAdmin) || who.capable(Capability::NetRaw)
            };
            match name as u32 {
                SO_PRIORITY if !(0..=6).contains(&value.int()?) && !admin() => {
                    return Err(Errno::EPERM.because("a priority above 6 needs CAP_NET_ADMIN"));
                }
                SO_MARK if !admin() => return Err(Errno::EPERM.because("a mark needs CAP_NET_ADMIN")),
                SO_TYPE | SO_DOMAIN | SO_PROTOCOL => return Err(Errno::ENOPROTOOPT.because("cannot be set")),
                SO_ZEROCOPY if value.int()? != 0 => {
                    return Err(Errno::EOPNOTSUPP.because("sending without a copy does not exist"));
                }
                SO_ZEROCOPY => return Ok(()),
                SO_MAX_PACING_RATE if value.int()? != -1 => {
                    return Err(Errno::ENOPROTOOPT.because("there is no pacing"));
                }
                SO_MAX_PACING_RATE => return Ok(()),
                _ => {}
            }
        }
        match self.common.kept.set(level, name, value) {
            Some(result) => result,
            None => self.ops.set_option(t, level, name, value),
        }
    }

    /// getsockopt(2): the option's bytes.
    pub fn option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        if let Some(direction) = timeout_direction(level, name) {
            return Ok(self.common.timeout_bytes(direction));
        }
        let (domain, kind, protocol) = self.ops.kind();
        if level == SOL_SOCKET {
            let int = match name as u32 {
                SO_TYPE => Some(kind as i32),
                SO_DOMAIN => Some(i32::from(domain)),
                SO_PROTOCOL => Some(protocol),
                SO_INCOMING_CPU | SO_ZEROCOPY => Some(0),
                SO_MAX_PACING_RATE => return Ok(u64::MAX.to_ne_bytes().to_vec()),
                SO_COOKIE => return Ok(self.id.ino.to_ne_bytes().to_vec()),
                _ => None,
            };
            if let Some(int) = int {
                return Ok(int_bytes(int));
            }
        }
        match self.common.kept.get(level, name) {
            Some(value) => Ok(int_bytes(value)),
            None => self.ops.option(level, name),
        }
    }

    /// Which timestamps are wanted (`SO_TIMESTAMP`, `SO_TIMESTAMPNS`).
    pub fn timestamps(&self) -> Option<Timestamps> {
        let set = |name| self.common.kept.is_set(SOL_SOCKET, name);
        let nanos = [SO_TIMESTAMPNS_OLD, SO_TIMESTAMPNS_NEW].into_iter().find(|n| set(*n)).map(Timestamps::Nanos);
        let micros = [SO_TIMESTAMP_OLD, SO_TIMESTAMP_NEW].into_iter().find(|n| set(*n)).map(Timestamps::Micros);
        nanos.or(micros)
    }
}

/// An `int` as getsockopt(2) returns it.
pub(in crate::net) fn int_bytes(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// The error for an option that a family does not know.
pub(in crate::net) fn unknown_option(level: i32) -> crate::error::Error {
    match level {
        SOL_SOCKET => Errno::ENOPROTOOPT.because("unknown option of SOL_SOCKET"),
        _ => Errno::ENOPROTOOPT.because("unknown option, or of another protocol"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeval(seconds: i64, micros: i64) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seconds.to_ne_bytes());
        bytes[8..].copy_from_slice(&micros.to_ne_bytes());
        bytes
    }

    #[test]
    fn timeouts_are_set_shown_and_inherited() {
        let options = CommonOptions::default();
        let set = |s, us| options.set_timeout(Direction::Read, &OptionValue(&timeval(s, us)));
        assert_eq!(options.timeout(Direction::Read), None);
        set(1, 500_000).unwrap();
        assert_eq!(options.inherit().timeout(Direction::Read), Some(Duration::from_millis(1500)));
        assert_eq!(options.timeout(Direction::Write), None);
        assert_eq!(options.timeout_bytes(Direction::Read), timeval(1, 500_000));
        assert_eq!(set(1, 1_000_000).unwrap_err().errno(), Errno::EDOM);
        set(-1, 0).unwrap();
        assert_eq!(options.timeout(Direction::Read), Some(Duration::ZERO));
        set(0, 0).unwrap();
        assert_eq!(options.timeout(Direction::Read), None);
        let short = OptionValue(&[0; 8]);
        assert_eq!(options.set_timeout(Direction::Read, &short).unwrap_err().errno(), Errno::EINVAL);
    }

    #[test]
    fn kept_options_have_defaults_ranges_and_flags() {
        const KNOWN: &[KeptOption] = &[(6, 7, 1, 127, 6), (0, 8, 0, 1, 0)];
        let kept = Kept::new(KNOWN);
        assert_eq!(kept.get(6, 7), Some(6));
        assert_eq!(kept.get(6, 8), None);
        assert!(kept.set(6, 8, &OptionValue(&[1])).is_none());
        let out_of_range = kept.set(6, 7, &OptionValue(&128i32.to_ne_bytes()));
        assert_eq!(out_of_range.unwrap().unwrap_err().errno(), Errno::EINVAL);
        kept.set(6, 7, &OptionValue(&9i32.to_ne_bytes())).unwrap().unwrap();
        assert_eq!(kept.copy().get(6, 7), Some(9));
        // ip(7): a single byte will do, and any value is "on".
        kept.set(0, 8, &OptionValue(&[5])).unwrap().unwrap();
        assert!(kept.is_set(0, 8));
        assert_eq!(kept.get(0, 8), Some(1));
        assert!(kept.set(6, 7, &OptionValue(&[5])).unwrap().is_err());
    }
}
