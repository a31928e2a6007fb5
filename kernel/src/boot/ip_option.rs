//! `ip=`: the guest's addresses at boot, in the Linux kernel's syntax (Documentation/admin-guide/nfs/nfsroot.rst).
//!
//! `ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>`, each field may be
//! empty and trailing ones left out; `ip=off` and `ip=none` mean nothing.

use super::cmdline::OptionError;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

const ACCEPTED: &str = "CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:off (IPv4 addresses), or off";

/// One interface's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpConfig {
    /// The guest's address.
    pub client: Ipv4Addr,
    /// Network bits of the mask; the address's class decides where it is not given.
    pub prefix: u8,
    /// Default route, if any.
    pub gateway: Option<Ipv4Addr>,
    /// Host name, if any.
    pub hostname: Option<String>,
    /// Interface, or the first one.
    pub device: Option<String>,
}

fn address(value: &str, field: &str) -> Result<Option<Ipv4Addr>, OptionError> {
    if field.is_empty() {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| OptionError::new("ip=", value, "not an IPv4 address", ACCEPTED))
}

/// The prefix that an address's class implies (RFC 791, section 2.3).
fn class_prefix(a: Ipv4Addr) -> u8 {
    match a.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// Parses the option's value; `None` where it asks for nothing.
pub fn parse(value: &str) -> Result<Option<IpConfig>, OptionError> {
    if matches!(value, "off" | "none" | "") {
        return Ok(None);
    }
    let error = |problem: &str| OptionError::new("ip=", value, problem, ACCEPTED);
    if matches!(value, "on" | "any" | "dhcp" | "bootp" | "rarp" | "both") {
        return Err(error("automatic configuration from the network does not exist"));
    }
    let fields: Vec<&str> = value.split(':').collect();
    if fields.len() > 10 {
        return Err(error("too many fields"));
    }
    let field = |i: usize| fields.get(i).copied().unwrap_or_default();
    let client = address(value, field(0))?.ok_or_else(|| error("no client address"))?;
    address(value, field(1))?;
    let gateway = address(value, field(2))?;
    let prefix = match address(value, field(3))? {
        None => class_prefix(client),
        Some(mask) => {
            let bits = mask.to_bits();
            if bits.leading_ones() + bits.trailing_zeros() != 32 && bits != u32::MAX && bits != 0 {
                return Err(error("the netmask has holes"));
            }
            bits.leading_ones() as u8
        }
    };
    if !matches!(field(6), "" | "off" | "none") {
        return Err(error("automatic configuration from the network does not exist"));
    }
    let text = |i: usize| (!field(i).is_empty()).then(|| field(i).to_owned());
    Ok(Some(IpConfig { client, prefix, gateway, hostname: text(4), device: text(5) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_defaults() {
        let c = parse("10.77.0.2::10.77.0.1:255.255.255.0:guest:eth0:off").unwrap().unwrap();
        assert_eq!((c.client, c.prefix), (Ipv4Addr::new(10, 77, 0, 2), 24));
        assert_eq!(c.gateway, Some(Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!((c.hostname.as_deref(), c.device.as_deref()), (Some("guest"), Some("eth0")));
        assert_eq!(parse("172.17.0.2").unwrap().unwrap().prefix, 16);
        assert_eq!(parse("off").unwrap(), None);
        for bad in ["dhcp", "1.2.3", "1.2.3.4:::255.0.255.0", "::", "1.2.3.4::::::dhcp", "1.2.3.4::::::::::x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
