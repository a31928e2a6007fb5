//! A port: an ethernet device with its counters.

use anyhow::{Context, Result, bail};
use netdrv::vhost_user;
use netdrv::{DeviceKind, DeviceSpec, DeviceStats, EthernetDevice, Offloads, raw, tuntap};

/// One port of the switch.
pub struct Port {
    /// As the command line names it.
    pub name: String,
    /// `None` while frames of its own are forwarded, which never go back to it.
    pub device: Option<Box<dyn EthernetDevice>>,
    /// Largest IP packet that leaves by it.
    pub mtu: usize,
    /// Frames that were for it, and did not fit its queue.
    pub full: u64,
    /// Frames that are longer than its MTU and cannot be cut.
    pub too_long: u64,
    /// Frames that went to all ports, because nobody knew better.
    pub flooded: u64,
}

impl Port {
    /// Opens the port that a word of the command line describes: what `eth<n>=` takes, where a `vhost-user` port is the
    /// device side, and listens unless it says `client`.
    pub fn open(word: &str) -> Result<Port> {
        let words: Vec<&str> = word.split(',').filter(|&field| field != "client").collect();
        let client = words.len() < word.split(',').count();
        let spec = DeviceSpec::parse(&format!("eth0={}", words.join(",")));
        let spec = spec.map_err(|e| anyhow::anyhow!("port {word}: {}", e.problem()))?;
        let Some(DeviceSpec { kind, .. }) = spec else { bail!("port {word}: not a port") };
        let accept = Offloads::all() - Offloads::RX_USO - Offloads::TX_USO;
        let (name, device): (String, Box<dyn EthernetDevice>) = match kind {
            DeviceKind::Tap(options) => {
                let device = tuntap::open("port", &options, random_mac()?, accept)?;
                (device.ifname().to_owned(), Box::new(device))
            }
            DeviceKind::Raw(options) => {
                let device = raw::open("port", &options, random_mac()?, accept)?;
                (options.ifname, Box::new(device))
            }
            DeviceKind::VhostUser(mut options) => {
                (options.backend, options.server) = (true, !client);
                let device = vhost_user::backend::open("port", &options, random_mac()?, accept)?;
                (options.socket, Box::new(device))
            }
        };
        let mtu = usize::from(device.mtu().0);
        Ok(Port { name, device: Some(device), mtu, full: 0, too_long: 0, flooded: 0 })
    }

    /// What the device has counted.
    pub fn stats(&self) -> DeviceStats {
        self.device.as_ref().map(|d| d.stats()).unwrap_or_default()
    }
}

fn random_mac() -> Result<[u8; 6]> {
    let mut mac = [0; 6];
    let mut file = std::fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    std::io::Read::read_exact(&mut file, &mut mac).context("cannot read /dev/urandom")?;
    Ok(mac)
}
