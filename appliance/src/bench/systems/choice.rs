//! Systems by name: a kind, and after an `@` how it is wired.

use std::str::FromStr;
use std::time::Duration;

use crate::guest::Hook;

/// The systems that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host's own kernel, over a veth pair.
    Native,
    /// The host's own kernel, over its loopback.
    NativeLo,
    /// The host's own kernel, over a veth pair without checksum and segmentation offload.
    NativeNooff,
    /// MMU User-Mode Linux 7.x with `seccomp=off`: every system call is a ptrace stop.
    Um,
    /// MMU User-Mode Linux 7.x with `seccomp=on`.
    UmSeccomp,
    /// MMU User-Mode Linux 6.1 with the network device that 7.x no longer has.
    UmLegacy,
    /// gVisor's runsc on its systrap platform.
    Gvisor,
    /// vmlinux with every system call trapped.
    NommuSeccomp,
    /// vmlinux with system calls trapped by syscall user dispatch.
    NommuSud,
    /// vmlinux with patched system call sites.
    NommuPatch,
    /// vmlinux with page 0 as a trampoline.
    NommuZpoline,
}

/// How a guest is connected to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A tap whose other end is the host's stack.
    Tap,
    /// A tap on a bridge that has the host's address.
    Bridge,
    /// Taps of two guests on a bridge, the server in the second.
    Guests,
    /// Shared memory of two guests (vhost-user), the server in the second, which has the device side.
    Vhost(Idle),
    /// Shared memory of each guest with an `appliance switch`.
    Switch(Idle),
}

/// How both ends of a shared memory, and a switch between them, wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// They poll for 50 µs before they sleep: the least latency, for a CPU each.
    Spin,
    /// They sleep at once.
    Sleep,
}

impl Idle {
    /// The word of `vmlinux idle=` and of `appliance switch --idle`.
    pub fn word(self) -> &'static str {
        match self {
            Idle::Spin => "spin:50",
            Idle::Sleep => "sleep",
        }
    }
}

impl Link {
    /// Every link.
    pub const ALL: [Link; 7] = [
        Link::Tap,
        Link::Bridge,
        Link::Guests,
        Link::Vhost(Idle::Spin),
        Link::Vhost(Idle::Sleep),
        Link::Switch(Idle::Spin),
        Link::Switch(Idle::Sleep),
    ];

    /// What stands behind a system's name; nothing for its usual link.
    pub fn suffix(self) -> &'static str {
        match self {
            Link::Tap => "",
            Link::Bridge => "@bridge",
            Link::Guests => "@guests",
            Link::Vhost(Idle::Spin) => "@vhost",
            Link::Vhost(Idle::Sleep) => "@vhost-sleep",
            Link::Switch(Idle::Spin) => "@switch",
            Link::Switch(Idle::Sleep) => "@switch-sleep",
        }
    }

    /// Whether the server runs in a second guest.
    pub fn joins_guests(self) -> bool {
        !matches!(self, Link::Tap | Link::Bridge)
    }
}

/// A kind and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub kind: Kind,
    pub link: Link,
}

impl Kind {
    /// Whether it can be given an ext4 image as its disk here.
    pub fn takes_disks(self) -> bool {
        match self {
            Kind::Native | Kind::NativeLo | Kind::NativeNooff => true,
            Kind::NommuSeccomp | Kind::NommuSud | Kind::NommuPatch | Kind::NommuZpoline => true,
            Kind::Um | Kind::UmSeccomp | Kind::UmLegacy | Kind::Gvisor => false,
        }
    }

    /// Whether it is our kernel.
    pub fn boots_vmlinux(self) -> bool {
        matches!(self, Kind::NommuSeccomp | Kind::NommuSud | Kind::NommuPatch | Kind::NommuZpoline)
    }

    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Native,
        Kind::NativeLo,
        Kind::NativeNooff,
        Kind::Um,
        Kind::UmSeccomp,
        Kind::UmLegacy,
        Kind::Gvisor,
        Kind::NommuSeccomp,
        Kind::NommuSud,
        Kind::NommuPatch,
        Kind::NommuZpoline,
    ];
    /// The group `nommu`: what needs no download.
    pub const NOMMU: [Kind; 3] = [Kind::Native, Kind::NommuSeccomp, Kind::NommuPatch];
    /// The group `peers`, which is compared when nobody chooses: the same with the systems that do the same job in other
    /// ways.
    pub const PEERS: [Kind; 6] =
        [Kind::Native, Kind::Um, Kind::UmSeccomp, Kind::Gvisor, Kind::NommuSeccomp, Kind::NommuPatch];

    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Native => "native",
            Kind::NativeLo => "native-lo",
            Kind::NativeNooff => "native-nooff",
            Kind::Um => "um",
            Kind::UmSeccomp => "um-seccomp",
            Kind::UmLegacy => "um-legacy",
            Kind::Gvisor => "gvisor",
            Kind::NommuSeccomp => "nommu-seccomp",
            Kind::NommuSud => "nommu-sud",
            Kind::NommuPatch => "nommu-patch",
            Kind::NommuZpoline => "nommu-zpoline",
        }
    }

    /// vmlinux's hook; the default one for what is no vmlinux.
    pub(super) fn hook(self) -> Hook {
        match self {
            Kind::NommuSeccomp => Hook::Seccomp,
            Kind::NommuSud => Hook::Sud,
            Kind::NommuZpoline => Hook::Zpoline,
            _ => Hook::Patch,
        }
    }

    /// About what a start and an end of it take, for estimates.
    pub fn start(self) -> Duration {
        Duration::from_millis(match self {
            Kind::Native | Kind::NativeLo | Kind::NativeNooff => 40,
            Kind::Um | Kind::UmSeccomp | Kind::UmLegacy => 1100,
            Kind::Gvisor => 300,
            Kind::NommuSeccomp | Kind::NommuSud | Kind::NommuPatch | Kind::NommuZpoline => 60,
        })
    }

    /// Whether its guests can be linked so.
    fn takes(self, link: Link) -> bool {
        match (link, self) {
            (Link::Tap, _) => true,
            (_, Kind::Native | Kind::NativeLo | Kind::NativeNooff | Kind::Gvisor) => false,
            (Link::Bridge | Link::Guests, _) => true,
            (Link::Vhost(_) | Link::Switch(_), Kind::Um | Kind::UmSeccomp | Kind::UmLegacy) => false,
            (Link::Vhost(_) | Link::Switch(_), _) => true,
        }
    }
}

impl Choice {
    /// The name in options and reports.
    pub fn name(self) -> String {
        format!("{}{}", self.kind.name(), self.link.suffix())
    }

    /// Whether it runs cases that do not use the network. Systems that differ from another by their link alone do not: they would
    /// measure the same twice.
    pub fn is_whole(self) -> bool {
        self.link == Link::Tap && !matches!(self.kind, Kind::NativeLo | Kind::NativeNooff)
    }

    /// The systems that a word of `--systems` stands for: itself, or a group's.
    pub fn expand(word: &str) -> Result<Vec<Choice>, String> {
        let plain = |kinds: &[Kind]| kinds.iter().map(|kind| Choice { kind: *kind, link: Link::Tap }).collect();
        match word {
            "all" => Ok(plain(&Kind::ALL)),
            "peers" | "default" => Ok(plain(&Kind::PEERS)),
            "nommu" => Ok(plain(&Kind::NOMMU)),
            word => word.parse().map(|choice| vec![choice]),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (name, suffix) = word.split_at(word.find('@').unwrap_or(word.len()));
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let names = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!("no system '{name}': accepted are {names}, and the groups nommu, peers, all"));
        };
        let Some(link) = Link::ALL.into_iter().find(|link| link.suffix() == suffix) else {
            let links = Link::ALL.map(Link::suffix)[1..].join(", ");
            return Err(format!("no link '{suffix}': accepted are {links}"));
        };
        match kind.takes(link) {
            true => Ok(Choice { kind, link }),
            false => Err(format!("{name} cannot be linked by {suffix}: it has no such device")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            for link in Link::ALL {
                let choice = Choice { kind, link };
                if kind.takes(link) {
                    assert_eq!(choice.name().parse(), Ok(choice));
                } else {
                    assert!(choice.name().parse::<Choice>().is_err());
                }
            }
        }
    }

    #[test]
    fn groups_expand_and_nonsense_is_refused() {
        assert_eq!(Choice::expand("peers").unwrap().len(), 6);
        assert_eq!(Choice::expand("all").unwrap().len(), Kind::ALL.len());
        assert_eq!(Choice::expand("um@guests").unwrap(), [Choice { kind: Kind::Um, link: Link::Guests }]);
        assert!(Choice::expand("nativ").unwrap_err().contains("nommu-seccomp"));
        assert_eq!(Choice::expand("nommu").unwrap().len(), 3);
        assert!(Choice::expand("peers").unwrap().into_iter().all(Choice::is_whole));
        assert!(!["native-lo", "um@guests"].into_iter().flat_map(Choice::expand).flatten().any(Choice::is_whole));
        assert_eq!(Choice::expand("default"), Choice::expand("peers"));
        let slept = Choice { kind: Kind::NommuPatch, link: Link::Switch(Idle::Sleep) };
        assert_eq!(Choice::expand("nommu-patch@switch-sleep").unwrap(), [slept]);
        assert!(Choice::expand("um@wire").unwrap_err().contains("@bridge"));
        assert!(Choice::expand("um@vhost").unwrap_err().contains("no such device"));
        assert!(Choice::expand("gvisor@bridge").is_err());
    }
}
