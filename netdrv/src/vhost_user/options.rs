//! What the command line says of a vhost-user link, in both syntaxes.
//!
//! Errors are the problem alone; [`OptionError`](crate::OptionError) adds the option's name and the accepted form.

use super::message::{Features, ProtocolFeatures};
use crate::frame::{MacAddr, Mtu};
use crate::options::{clip, parse_mac};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The accepted form of `eth<n>=vhost-user`.
pub(crate) const ETH_FORM: &str =
    "eth<n>=vhost-user,<socket>[,<guest MAC>][,server][,backend][,queues=<1..8>][,mtu=<68..65521>][,off=<feature>+...]";
/// The accepted form of `vec<n>:transport=vhost-user`.
pub(crate) const VEC_FORM: &str = "vec<n>:transport=vhost-user,socket=<path>[,mac=<guest MAC>][,server=<0|1>][,backend=<0|1>][,queues=<1..8>][,mtu=<68..65521>][,off=<feature>+...]";

/// Most queue pairs.
pub const MAX_QUEUES: u16 = 8;
/// Longest path of a Unix socket, in bytes (unix(7): 108 with the NUL).
const MAX_SOCKET_PATH: usize = 107;
/// What IPv4 needs, and what an ethernet header leaves of 64 KB.
const MTU_RANGE: core::ops::RangeInclusive<u16> = 68..=65_521;

/// How a vhost-user link is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VhostUserOptions {
    /// Path of the Unix socket.
    pub socket: String,
    /// The guest's address; `None` draws a locally administered one.
    pub mac: Option<MacAddr>,
    /// Whether we listen at the socket; otherwise we connect to it.
    pub server: bool,
    /// Whether we are the device side of the link.
    pub backend: bool,
    /// Queue pairs, 1..=[`MAX_QUEUES`].
    pub queues: u16,
    /// Largest IP packet without segmentation offload.
    pub mtu: Mtu,
    /// Feature bits that are not offered.
    pub(crate) off: Features,
    /// The same of the protocol's.
    pub(crate) off_protocol: ProtocolFeatures,
}

impl VhostUserOptions {
    /// A client's link to `socket`, with nothing else said.
    pub fn new(socket: impl Into<String>) -> VhostUserOptions {
        VhostUserOptions {
            socket: socket.into(),
            mac: None,
            server: false,
            backend: false,
            queues: 1,
            mtu: Mtu(1500),
            off: Features::empty(),
            off_protocol: ProtocolFeatures::empty(),
        }
    }

    /// Leaves optional features out by name (`mrg_rxbuf+event_idx`).
    ///
    /// # Errors
    /// The problem in words.
    pub fn set_off(&mut self, names: &str) -> Result<(), String> {
        for name in names.split('+') {
            if let Some((_, feature)) = OPTIONAL.iter().find(|(known, _)| *known == name) {
                self.off |= *feature;
            } else if let Some((_, feature)) = OPTIONAL_PROTOCOL.iter().find(|(known, _)| *known == name) {
                self.off_protocol |= *feature;
            } else {
                let known = optional_features().collect::<Vec<_>>().join(", ");
                return Err(format!("`{}` is not a feature that can be left out; those are {known}", clip(name)));
            }
        }
        Ok(())
    }
}

/// The names of all features that a link works without, as `off=` takes them.
pub fn optional_features() -> impl Iterator<Item = &'static str> {
    OPTIONAL.iter().map(|(name, _)| *name).chain(OPTIONAL_PROTOCOL.iter().map(|(name, _)| *name))
}

/// Features that a link works without.
pub(crate) const OPTIONAL: [(&str, Features); 11] = [
    ("mrg_rxbuf", Features::MRG_RXBUF),
    ("indirect", Features::INDIRECT_DESC),
    ("event_idx", Features::EVENT_IDX),
    ("csum", Features::CSUM),
    ("guest_csum", Features::GUEST_CSUM),
    ("host_tso4", Features::HOST_TSO4),
    ("host_tso6", Features::HOST_TSO6),
    ("guest_tso4", Features::GUEST_TSO4),
    ("guest_tso6", Features::GUEST_TSO6),
    ("ecn", Features::HOST_ECN.union(Features::GUEST_ECN)),
    ("mtu", Features::MTU),
];

/// The same of the protocol's. A device cannot leave `reply_ack` out: rust-vmm's `vhost` offers it itself.
const OPTIONAL_PROTOCOL: [(&str, ProtocolFeatures); 3] = [
    ("reply_ack", ProtocolFeatures::REPLY_ACK),
    ("config", ProtocolFeatures::CONFIG),
    ("protocol", ProtocolFeatures::all()),
];

/// Reads the fields behind `eth<n>=vhost-user,`.
pub(crate) fn parse_fields(value: &str) -> Result<VhostUserOptions, String> {
    let mut fields = value.split(',');
    let mut options = VhostUserOptions::new(parse_socket(fields.next().unwrap_or_default())?);
    for (at, field) in fields.enumerate() {
        match field.split_once('=') {
            Some((key, value)) if !matches!(key, "socket" | "mac" | "server" | "backend") => {
                set(&mut options, key, value)?
            }
            None if field == "server" => options.server = true,
            None if field == "backend" => options.backend = true,
            // The address is the second field, and may be left empty.
            None if at == 0 && field.is_empty() => {}
            None if at == 0 => options.mac = Some(parse_mac(field)?),
            _ => return Err(format!("`{}` is no field of a vhost-user link", clip(field))),
        }
    }
    Ok(options)
}

/// Reads the keys of `vec<n>:transport=vhost-user,…`.
pub(crate) fn parse_keys(value: &str) -> Result<VhostUserOptions, String> {
    let mut options = VhostUserOptions::new("");
    for pair in value.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{}` is not key=value", clip(pair)))?;
        if value_of(pair, value, key)? {
            set(&mut options, key, value)?;
        }
    }
    parse_socket(&options.socket)?;
    Ok(options)
}

/// Whether a key is an option's; the transport is known already.
fn value_of(pair: &str, value: &str, key: &str) -> Result<bool, String> {
    match key {
        "transport" if value == "vhost-user" => Ok(false),
        "transport" => Err(format!("`{}` gives a second transport", clip(pair))),
        _ => Ok(true),
    }
}

fn set(options: &mut VhostUserOptions, key: &str, value: &str) -> Result<(), String> {
    match key {
        "socket" => options.socket = parse_socket(value)?,
        "mac" => options.mac = Some(parse_mac(value)?),
        "server" => options.server = parse_switch(key, value)?,
        "backend" => options.backend = parse_switch(key, value)?,
        "queues" => {
            let queues = value.parse().ok().filter(|q| (1..=MAX_QUEUES).contains(q));
            options.queues = queues.ok_or_else(|| format!("the queues `{}` are not 1..{MAX_QUEUES}", clip(value)))?;
        }
        "mtu" => {
            let mtu = value.parse().ok().filter(|mtu| MTU_RANGE.contains(mtu));
            options.mtu = Mtu(mtu.ok_or_else(|| format!("the mtu `{}` is not 68..65521", clip(value)))?);
        }
        "off" => options.set_off(value)?,
        _ => return Err(format!("`{}` is no key of a vhost-user link", clip(key))),
    }
    Ok(())
}

fn parse_switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("{key} `{}` is neither 0 nor 1", clip(value))),
    }
}

fn parse_socket(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("the path of the socket is missing".to_owned());
    }
    if path.len() > MAX_SOCKET_PATH || path.contains('\0') {
        return Err(format!("the socket path `{}` has not 1 to {MAX_SOCKET_PATH} bytes", clip(path)));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_say_the_same() {
        let a =
            parse_fields("/run/v.sock,02:00:00:00:00:01,server,backend,queues=2,mtu=9000,off=mrg_rxbuf+ecn+reply_ack")
                .unwrap();
        let b = parse_keys(
            "off=ecn+reply_ack+mrg_rxbuf,transport=vhost-user,mtu=9000,queues=2,backend=1,server=1,mac=2:0:0:0:0:1,socket=/run/v.sock",
        )
        .unwrap();
        assert_eq!(a, b);
        assert_eq!(a.off, Features::MRG_RXBUF | Features::HOST_ECN | Features::GUEST_ECN);
        assert_eq!(a.off_protocol, ProtocolFeatures::REPLY_ACK);
        assert_eq!(
            (a.socket.as_str(), a.queues, a.mtu, a.server, a.backend),
            ("/run/v.sock", 2, Mtu(9000), true, true)
        );
        assert_eq!(parse_fields("v").unwrap(), VhostUserOptions::new("v"));
        assert_eq!(parse_fields("v,,server").unwrap(), VhostUserOptions { server: true, ..VhostUserOptions::new("v") });
        assert_eq!(parse_keys("transport=vhost-user,socket=v").unwrap(), VhostUserOptions::new("v"));
    }

    #[test]
    fn each_mistake_is_named() {
        for (fields, problem) in [
            ("", "the path of the socket is missing"),
            ("v,zz", "six hexadecimal octets"),
            ("v,01:00:5e:00:00:01", "group address"),
            ("v,server,02:00:00:00:00:01", "is no field"),
            ("v,server=1", "is no field"),
            ("v,,queues=0", "not 1..8"),
            ("v,,queues=9", "not 1..8"),
            ("v,,mtu=67", "not 68..65521"),
            ("v,,mtu=65522", "not 68..65521"),
            ("v,,off=version_1", "not a feature that can be left out"),
            ("v,,depth=1", "no key of a vhost-user link"),
        ] {
            let error = parse_fields(fields).unwrap_err();
            assert!(error.contains(problem), "{fields}: {error}");
        }
        for (keys, problem) in [
            ("transport=vhost-user", "the path of the socket is missing"),
            ("transport=vhost-user,socket=v,server=yes", "neither 0 nor 1"),
            ("transport=vhost-user,socket=v,transport=tap", "second transport"),
            ("transport=vhost-user,socket", "not key=value"),
        ] {
            let error = parse_keys(keys).unwrap_err();
            assert!(error.contains(problem), "{keys}: {error}");
        }
        let long = alloc::string::String::from_utf8(alloc::vec![b'x'; 108]).unwrap();
        assert!(parse_fields(&long).unwrap_err().contains("1 to 107 bytes"));
        assert!(parse_fields(&long[..107]).is_ok());
    }
}
