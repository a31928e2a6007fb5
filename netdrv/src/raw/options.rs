//! What the command line says of a host interface, in both syntaxes.
//!
//! Errors are the problem alone; [`OptionError`](crate::OptionError) adds the option's name and the accepted form.

use crate::frame::MacAddr;
use crate::options::{clip, parse_mac};
use crate::tuntap::options::parse_ifname;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// The accepted form of `eth<n>=raw`.
pub(crate) const ETH_FORM: &str = "eth<n>=raw,<host interface>[,<guest MAC>]";
/// The accepted form of `vec<n>:transport=raw`.
pub(crate) const VEC_FORM: &str = "vec<n>:transport=raw,ifname=<host interface>[,mac=<guest MAC>]";

/// How a host interface is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawOptions {
    /// The host's interface.
    pub ifname: String,
    /// The guest's address; `None` draws a locally administered one.
    pub mac: Option<MacAddr>,
}

/// Reads the fields behind `eth<n>=raw,`.
pub(crate) fn parse_fields(value: &str) -> Result<RawOptions, String> {
    let mut fields = value.split(',');
    let ifname = parse_ifname(fields.next().unwrap_or_default())?;
    let mac = fields.next().filter(|f| !f.is_empty()).map(parse_mac).transpose()?;
    match fields.next() {
        Some(extra) => Err(format!("`{}` is one field too many", clip(extra))),
        None => Ok(RawOptions { ifname, mac }),
    }
}

/// Reads the keys of `vec<n>:transport=raw,…`.
pub(crate) fn parse_keys(value: &str) -> Result<RawOptions, String> {
    let (mut ifname, mut mac) = (None, None);
    for pair in value.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{}` is not key=value", clip(pair)))?;
        match key {
            "transport" if value == "raw" => {}
            "ifname" if ifname.is_none() => ifname = Some(parse_ifname(value)?),
            "mac" if mac.is_none() => mac = Some(parse_mac(value)?),
            "transport" | "ifname" | "mac" => return Err(format!("`{key}` is given twice")),
            _ => return Err(format!("`{}` is not a key; the keys are transport, ifname, mac", clip(key))),
        }
    }
    let ifname = ifname.ok_or_else(|| "the ifname is missing".to_owned())?;
    Ok(RawOptions { ifname, mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_say_the_same() {
        let with_mac = RawOptions { ifname: "eth1".into(), mac: Some(MacAddr([2, 0, 0, 0, 0, 1])) };
        assert_eq!(parse_fields("eth1,2:0:0:0:0:1").unwrap(), with_mac);
        assert_eq!(parse_keys("mac=2:0:0:0:0:1,transport=raw,ifname=eth1").unwrap(), with_mac);
        assert_eq!(parse_fields("eth1").unwrap(), RawOptions { ifname: "eth1".into(), mac: None });
        for (fields, problem) in
            [("", "1 to 15 bytes"), ("eth1,zz", "six hexadecimal"), ("eth1,,x", "one field too many")]
        {
            assert!(parse_fields(fields).unwrap_err().contains(problem), "{fields}");
        }
        for (keys, problem) in [
            ("transport=raw", "the ifname is missing"),
            ("transport=raw,ifname=a,ifname=b", "given twice"),
            ("transport=raw,ifname=a,depth=1", "is not a key"),
        ] {
            assert!(parse_keys(keys).unwrap_err().contains(problem), "{keys}");
        }
    }
}
