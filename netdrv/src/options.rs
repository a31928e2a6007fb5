//! Network devices on the command line, in User-Mode Linux's syntax:
//!
//! - `eth<n>=tuntap,<host tap>,<guest MAC>,<host-side IP>`: fields may be empty, or missing from the right;
//! - `vec<n>:transport=tap,ifname=<host tap>,mac=<guest MAC>,depth=<1..1024>,gro=<0|1>`: keys in any order;
//! - `eth<n>=raw,<host interface>,<guest MAC>` and `vec<n>:transport=raw,ifname=<host interface>,…`;
//! - `eth<n>=vhost-user,<socket>,…` and `vec<n>:transport=vhost-user,socket=<path>,…`: see `vhost_user::options`.
//!
//! Parsing is pure: nothing is opened, no randomness is drawn.

use crate::frame::MacAddr;
use crate::raw::RawOptions;
use crate::raw::options as raw;
use crate::tuntap::TapOptions;
use crate::tuntap::options::{parse_tuntap, parse_vector_tap};
use crate::vhost_user::VhostUserOptions;
use crate::vhost_user::options as vhost_user;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The accepted form of `eth<n>=`.
pub(crate) const ETH_FORM: &str = "eth<n>=tuntap,<host tap>,<guest MAC>,<host-side IP>";
/// The accepted form of `vec<n>:`.
pub(crate) const VEC_FORM: &str = "vec<n>:transport=tap,ifname=<host tap>,mac=<guest MAC>,depth=<1..1024>,gro=<0|1>";

/// A network device as the command line describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceSpec {
    /// The number in the option's name.
    pub unit: u8,
    /// The guest's interface: `eth<n>` or `vec<n>`.
    pub name: String,
    /// Which driver, and what it wants to know.
    pub kind: DeviceKind,
}

/// The driver of a [`DeviceSpec`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    /// A TAP interface of the host.
    Tap(TapOptions),
    /// An interface of the host.
    Raw(RawOptions),
    /// A vhost-user link.
    VhostUser(VhostUserOptions),
}

/// A network option that cannot be understood. Displays as one line: option, problem, accepted form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionError {
    option: String,
    problem: String,
    form: &'static str,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; accepted: {}", self.option, self.problem, self.form)
    }
}

impl OptionError {
    /// What is wrong, without the option's name and the accepted form.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl core::error::Error for OptionError {}

impl DeviceSpec {
    /// Reads one word of the command line; `Ok(None)` when it is not a network option.
    ///
    /// # Errors
    /// When it is one, but malformed.
    pub fn parse(word: &str) -> Result<Option<DeviceSpec>, OptionError> {
        for (prefix, separator, form) in [("eth", '=', ETH_FORM), ("vec", ':', VEC_FORM)] {
            let Some((digits, found, value)) = split_option(word, prefix) else { continue };
            let name = format!("{prefix}{digits}");
            let is_eth = prefix == "eth";
            let transport = transport_of(value, is_eth);
            let form = match transport {
                "vhost-user" if is_eth => vhost_user::ETH_FORM,
                "vhost-user" => vhost_user::VEC_FORM,
                "raw" if is_eth => raw::ETH_FORM,
                "raw" => raw::VEC_FORM,
                _ => form,
            };
            let fail = |problem| OptionError { option: clip(&name), problem, form };
            if found != separator {
                return Err(fail(format!("`{separator}` is missing after the interface number")));
            }
            let unit = parse_unit(digits).ok_or_else(|| fail("the interface number is not 0..255".to_owned()))?;
            let rest = value.split_once(',').map_or("", |(_, rest)| rest);
            let kind = match transport {
                "raw" => {
                    let options = if is_eth { raw::parse_fields(rest) } else { raw::parse_keys(value) };
                    DeviceKind::Raw(options.map_err(fail)?)
                }
                "vhost-user" => {
                    let options = if is_eth { vhost_user::parse_fields(rest) } else { vhost_user::parse_keys(value) };
                    DeviceKind::VhostUser(options.map_err(fail)?)
                }
                _ if is_eth => DeviceKind::Tap(parse_tuntap(value).map_err(fail)?),
                _ => DeviceKind::Tap(parse_vector_tap(value).map_err(fail)?),
            };
            return Ok(Some(DeviceSpec { unit, name, kind }));
        }
        Ok(None)
    }
}

/// The transport that an option's value names: its first field, or the value of its key `transport`.
fn transport_of(value: &str, is_eth: bool) -> &str {
    let mut fields = value.split(',');
    if is_eth {
        return fields.next().unwrap_or_default();
    }
    fields.find_map(|field| field.strip_prefix("transport=")).unwrap_or_default()
}

/// Splits `eth0=value` into number, separator and value; `None` for words such as `ethernet=1` or `eth0`.
fn split_option<'a>(word: &'a str, prefix: &str) -> Option<(&'a str, char, &'a str)> {
    let rest = word.strip_prefix(prefix)?;
    let at = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, tail) = rest.split_at(at);
    let separator = tail.chars().next().filter(|c| matches!(c, '=' | ':'))?;
    (!digits.is_empty()).then_some((digits, separator, &tail[1..]))
}

/// A number without leading zeros, so that a unit has one name only.
fn parse_unit(digits: &str) -> Option<u8> {
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    digits.parse().ok()
}

/// A station's address.
pub(crate) fn parse_mac(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|e| format!("`{}`: {e}", clip(text)))?;
    if mac.is_group() {
        return Err(format!("the MAC address {mac} is a group address (the first octet must be even)"));
    }
    if mac.is_zero() {
        return Err(format!("the MAC address {mac} cannot be a station's"));
    }
    Ok(mac)
}

/// Longest part of the user's input that an error repeats, in characters.
const CLIP: usize = 48;

/// The user's input for an error line: cut to length, control characters escaped.
pub(crate) fn clip(input: &str) -> String {
    let mut clipped: String = input.chars().take(CLIP).flat_map(char::escape_debug).collect();
    if input.chars().nth(CLIP).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::MacAddr;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    fn tap(word: &str) -> (String, u8, TapOptions) {
        let spec = DeviceSpec::parse(word).unwrap_or_else(|e| panic!("{e}")).expect("not taken for a network option");
        let DeviceKind::Tap(options) = spec.kind else { panic!("{word}: {spec:?}") };
        (spec.name, spec.unit, options)
    }

    fn error(word: &str) -> String {
        match DeviceSpec::parse(word) {
            Err(e) => e.to_string(),
            Ok(spec) => panic!("{word} was accepted: {spec:?}"),
        }
    }

    #[test]
    fn tuntap_with_all_fields() {
        let (name, unit, options) = tap("eth0=tuntap,tap100,0e:fd:0:0:0:1,172.17.0.1");
        assert_eq!((name.as_str(), unit), ("eth0", 0));
        assert_eq!(options.ifname.as_deref(), Some("tap100"));
        assert_eq!(options.mac, Some(MacAddr([0x0e, 0xfd, 0, 0, 0, 1])));
        assert_eq!(options.host_ip, Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert!(options.gro);
    }

    #[test]
    fn tuntap_fields_may_be_empty_or_missing() {
        for word in ["eth3=tuntap", "eth3=tuntap,", "eth3=tuntap,,,", "eth3=tuntap,,"] {
            assert_eq!(tap(word), ("eth3".to_owned(), 3, TapOptions::default()), "{word}");
        }
        let (.., options) = tap("eth0=tuntap,,,192.168.0.254");
        assert_eq!((options.ifname, options.mac), (None, None));
        assert_eq!(options.host_ip, Some(Ipv4Addr::new(192, 168, 0, 254)));
    }

    #[test]
    fn vector_keys_in_any_order() {
        let (name, unit, options) = tap("vec12:gro=0,mac=02:00:00:00:00:01,transport=tap,depth=128,ifname=tap100");
        assert_eq!((name.as_str(), unit), ("vec12", 12));
        assert_eq!(options.ifname.as_deref(), Some("tap100"));
        assert_eq!(options.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!((options.depth, options.gro, options.host_ip), (128, false, None));
        assert_eq!(tap("vec0:transport=tap").2, TapOptions::default());
        for (text, depth) in [("1", 1), ("1024", 1024)] {
            assert_eq!(tap(&format!("vec0:transport=tap,depth={text}")).2.depth, depth);
        }
    }

    #[test]
    fn other_words_are_not_ours() {
        for word in [
            "",
            "eth",
            "eth=1",
            "eth0",
            "ethernet=1",
            "ethX=tuntap",
            "vec",
            "vector0:x",
            "veth0=1",
            "ip=dhcp",
            "eth0.mtu=9",
        ] {
            assert_eq!(DeviceSpec::parse(word), Ok(None), "{word}");
        }
    }

    #[test]
    fn an_error_is_one_line_with_option_problem_and_form() {
        assert_eq!(
            error("eth0=tuntap,tap0,zz"),
            "eth0: `zz`: a MAC address is six hexadecimal octets separated by colons, such as 0e:fd:00:00:00:01; \
             accepted: eth<n>=tuntap,<host tap>,<guest MAC>,<host-side IP>"
        );
        assert_eq!(
            error("vec0:transport=tap,mtu=9000"),
            "vec0: `mtu` is not a key; the keys are transport, ifname, mac, depth, gro; \
             accepted: vec<n>:transport=tap,ifname=<host tap>,mac=<guest MAC>,depth=<1..1024>,gro=<0|1>"
        );
        let long = error(&format!("eth0=tuntap,tap\n{}", "x".repeat(5000)));
        assert!(!long.contains('\n') && long.len() < 300, "{long}");
    }

    #[test]
    fn each_mistake_is_named() {
        for (word, problem) in [
            ("eth0=", "the transport `` is not supported, tuntap, raw and vhost-user are"),
            ("eth0=daemon,x", "the transport `daemon` is not supported, tuntap, raw and vhost-user are"),
            ("eth0=vhost-user", "the path of the socket is missing"),
            ("vec0:socket=v,transport=vhost-user,gro=1", "`gro` is no key of a vhost-user link"),
            ("eth0=tuntap,a,,,", "`` is one field too many"),
            ("eth0=tuntap,abcdefghijklmnop", "has not 1 to 15 bytes"),
            ("eth0=tuntap,a/b", "has a `/`, `:`, `%` or white space in it"),
            ("eth0=tuntap,a b", "has a `/`, `:`, `%` or white space in it"),
            ("eth0=tuntap,a\0b", "has a `/`, `:`, `%` or white space in it"),
            ("eth0=tuntap,..", "is not allowed"),
            ("eth0=tuntap,,01:00:5e:00:00:01", "is a group address"),
            ("eth0=tuntap,,ff:ff:ff:ff:ff:ff", "is a group address"),
            ("eth0=tuntap,,0:0:0:0:0:0", "cannot be a station's"),
            ("eth0=tuntap,,2:0:0:0:0", "six hexadecimal octets"),
            ("eth0=tuntap,,,10.0.0", "`10.0.0` is not an IPv4 address"),
            ("eth0=tuntap,,,10.0.0.1/24", "`10.0.0.1/24` is not an IPv4 address"),
            ("eth0=tuntap,,,224.0.0.1", "cannot be an interface's address"),
            ("eth0=tuntap,,,0.0.0.0", "cannot be an interface's address"),
            ("eth0=tuntap,,,127.0.0.1", "cannot be an interface's address"),
            ("eth0=tuntap,,,10.0.0.255", "cannot be an interface's address"),
            ("eth0:tuntap", "`=` is missing after the interface number"),
            ("eth256=tuntap", "the interface number is not 0..255"),
            ("eth00=tuntap", "the interface number is not 0..255"),
            ("vec0=transport=tap", "`:` is missing after the interface number"),
            ("vec0:", "`` is not key=value"),
            ("vec0:transport=tap,", "`` is not key=value"),
            ("vec0:ifname=tap0", "the transport is missing"),
            ("vec0:transport=gre,ifname=eth0", "the transport `gre` is not supported, tap, raw and vhost-user are"),
            ("eth0=raw", "has not 1 to 15 bytes"),
            ("vec0:transport=tap,transport=tap", "`transport` is given twice"),
            ("vec0:transport=tap,ifname=a,ifname=b", "`ifname` is given twice"),
            ("vec0:transport=tap,ifname=", "has not 1 to 15 bytes"),
            ("vec0:transport=tap,mac=", "six hexadecimal octets"),
            ("vec0:transport=tap,depth=0", "the depth `0` is not 1..1024"),
            ("vec0:transport=tap,depth=1025", "the depth `1025` is not 1..1024"),
            ("vec0:transport=tap,depth=-1", "the depth `-1` is not 1..1024"),
            ("vec0:transport=tap,gro=yes", "gro `yes` is neither 0 nor 1"),
        ] {
            let line = error(word);
            assert!(line.contains(problem), "{word}: {line}");
            assert!(line.starts_with(&word[..3]) && line.contains("; accepted: "), "{word}: {line}");
        }
    }

    /// Cuts, doubled and foreign bytes in good options never panic, and every accepted tap name obeys the rules.
    #[test]
    fn mutilated_options_never_panic() {
        let good = [
            "eth0=tuntap,tap100,0e:fd:0:0:0:1,172.17.0.1",
            "vec0:transport=tap,ifname=tap100,depth=128,gro=1,mac=0e:fd:0:0:0:1",
            "eth0=vhost-user,/run/v.sock,0e:fd:0:0:0:1,server,queues=2,off=csum+ecn",
            "vec0:transport=vhost-user,socket=/run/v.sock,backend=1,mtu=9000",
        ];
        let foreign = [",", "=", ":", "/", "%", " ", "\0", "\n", "é", "😀", "9", "-", "99999999999999999999", "tap"];
        let (mut accepted, mut refused) = (0, 0);
        let mut check = |word: &str| match DeviceSpec::parse(word) {
            Ok(Some(DeviceSpec { kind: DeviceKind::Tap(options), .. })) => {
                accepted += 1;
                let name = options.ifname.unwrap_or("x".to_owned());
                assert!((1..=15).contains(&name.len()) && !name.contains(['/', ' ', '\0']), "{word:?}");
                assert!((1..=1024).contains(&options.depth));
            }
            Ok(Some(DeviceSpec { kind: DeviceKind::VhostUser(options), .. })) => {
                accepted += 1;
                assert!((1..=107).contains(&options.socket.len()) && (1..=8).contains(&options.queues), "{word:?}");
            }
            Ok(Some(DeviceSpec { kind: DeviceKind::Raw(options), .. })) => {
                accepted += 1;
                assert!((1..=15).contains(&options.ifname.len()), "{word:?}");
            }
            Ok(None) => {}
            Err(e) => {
                refused += 1;
                assert!(!e.to_string().contains('\n'));
            }
        };
        for word in good {
            for from in 0..=word.len() {
                for to in from..=word.len() {
                    check(&[&word[..from], &word[to..]].concat());
                    let (head, tail) = (&word[..from], &word[to..]);
                    let pieces: Vec<String> = foreign.iter().map(|f| [head, f, tail].concat()).collect();
                    pieces.iter().for_each(|p| check(p));
                }
            }
        }
        assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
    }
}
