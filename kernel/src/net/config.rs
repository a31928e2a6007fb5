//! Setting the network up at boot: devices from `eth<n>=` and `vec<n>:`, addresses from `ip=`.

use super::network::{NetworkPoller, network};
use super::{IfIndex, NetError, Prefix, Route, RouteKind, RouteProtocol};
use crate::klog;
use crate::sched;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use core::net::Ipv4Addr;
use netdrv::{DeviceKind, DeviceSpec, EthernetDevice, Offloads, OpenError, raw, tuntap, vhost_user};

/// One interface's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceConfig {
    /// The machine's address.
    pub address: Ipv4Addr,
    /// Network bits of the mask.
    pub prefix: u8,
    /// Default route, if any.
    pub gateway: Option<Ipv4Addr>,
    /// Interface; `None` for the first ethernet device.
    pub device: Option<String>,
}

/// Why the network could not be set up; displays as one line.
#[derive(Debug)]
pub enum ConfigError {
    /// A device could not be opened.
    Device(OpenError),
    /// A host interface could not be opened.
    Raw(raw::OpenError),
    /// A vhost-user device could not be made.
    VhostUser(vhost_user::OpenError),
    /// Two devices have one name.
    DuplicateName(String),
    /// `ip=` names a device that is not there.
    NoSuchDevice(Option<String>),
    /// An address or route was refused.
    Refused(String, NetError),
    /// There is no room for one more poller.
    Poller(crate::error::Error),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Device(e) => write!(f, "{e}"),
            ConfigError::Raw(e) => write!(f, "{e}"),
            ConfigError::VhostUser(e) => write!(f, "{e}"),
            ConfigError::DuplicateName(name) => write!(f, "{name}: there is an interface of this name already"),
            ConfigError::NoSuchDevice(Some(name)) => {
                write!(f, "ip=: there is no interface {name}; make one with {name}=tuntap,TAP")
            }
            ConfigError::NoSuchDevice(None) => {
                f.write_str("ip=: there is no network device; make one with eth0=tuntap,TAP")
            }
            ConfigError::Refused(what, NetError::NetUnreachable) => {
                write!(f, "ip=: {what}: not on the interface's own network")
            }
            ConfigError::Refused(what, e) => write!(f, "ip=: {what}: {}", crate::error::Error::from(*e)),
            ConfigError::Poller(e) => write!(f, "{e}"),
        }
    }
}

/// Opens devices and configures interfaces. `lo` is up from the start.
pub fn init(devices: &[DeviceSpec], addresses: &[InterfaceConfig]) -> Result<(), ConfigError> {
    for spec in devices {
        open_device(spec)?;
    }
    for config in addresses {
        let interface = find_interface(config)?;
        configure(interface, config)?;
    }
    sched::register_poller(Arc::new(NetworkPoller)).map_err(ConfigError::Poller)
}

fn open_device(spec: &DeviceSpec) -> Result<(), ConfigError> {
    let mut mac = [0; 6];
    crate::host::random(&mut mac);
    // Coalesced UDP datagrams would have to be taken apart again for every socket.
    let accept = Offloads::all() - Offloads::RX_USO;
    let (device, where_to): (Box<dyn EthernetDevice>, String) = match &spec.kind {
        DeviceKind::Tap(options) => {
            let device = tuntap::open(&spec.name, options, mac, accept).map_err(ConfigError::Device)?;
            let where_to = alloc::format!("host interface {}", device.ifname());
            (Box::new(device), where_to)
        }
        DeviceKind::Raw(options) => {
            let device = raw::open(&spec.name, options, mac, accept).map_err(ConfigError::Raw)?;
            let where_to = alloc::format!("packet socket on host interface {}", device.ifname());
            (Box::new(device), where_to)
        }
        DeviceKind::VhostUser(options) if options.backend => {
            let device = vhost_user::backend::open(&spec.name, options, mac, accept).map_err(ConfigError::VhostUser)?;
            let where_to = alloc::format!("back-end of vhost-user socket {}", device.socket());
            (Box::new(device), where_to)
        }
        DeviceKind::VhostUser(options) => {
            let device = vhost_user::open(&spec.name, options, mac, accept).map_err(ConfigError::VhostUser)?;
            let where_to = alloc::format!("vhost-user socket {}", device.socket());
            (Box::new(device), where_to)
        }
    };
    let (address, mtu, offloads) = (device.mac(), device.mtu().0, device.offloads());
    klog!(Info, "{}: {address}, {where_to}, MTU {mtu}, offloads {offloads:?}", spec.name);
    network().attach(&spec.name, device).map_err(|_| ConfigError::DuplicateName(spec.name.clone()))?;
    Ok(())
}

fn find_interface(config: &InterfaceConfig) -> Result<IfIndex, ConfigError> {
    let found = network().look(|stack| match &config.device {
        Some(name) => stack.interface_by_name(name).map(|i| i.index),
        None => stack.interfaces().iter().map(|i| i.index).find(|i| *i != IfIndex::LO),
    });
    found.ok_or_else(|| ConfigError::NoSuchDevice(config.device.clone()))
}

fn configure(interface: IfIndex, config: &InterfaceConfig) -> Result<(), ConfigError> {
    let address = config.address;
    let refused = |what: String| move |e| ConfigError::Refused(what, e);
    let name = network()
        .look(|stack| {
            stack.add_address(interface, address, config.prefix, None, None)?;
            stack.set_interface_up(interface, true)?;
            Ok(stack.interface(interface).map_or(String::new(), |i| i.name.clone()))
        })
        .map_err(refused(address.to_string()))?;
    klog!(Info, "{name}: {address}/{}", config.prefix);
    let Some(gateway) = config.gateway else { return Ok(()) };
    let route = Route {
        destination: Prefix::DEFAULT,
        gateway: Some(gateway),
        interface,
        metric: 0,
        source: None,
        protocol: RouteProtocol::Boot,
        kind: RouteKind::Unicast,
    };
    network().look(|stack| stack.add_route(route)).map_err(refused(alloc::format!("gateway {gateway}")))?;
    klog!(Info, "{name}: default route by {gateway}");
    Ok(())
}
