//! Systems by name: a kind, and after an `@` how it is wired.

use std::str::FromStr;

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
}

/// A kind and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub kind: Kind,
    pub link: Link,
}

impl Kind {
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
    /// What is compared when nobody chooses: what needs no download.
    pub const DEFAULT: [Kind; 3] = [Kind::Native, Kind::NommuSeccomp, Kind::NommuPatch];
    /// The group `peers`: the default with the systems that do the same job in other ways.
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

    /// Whether its guests have taps, which can be put on a bridge.
    fn has_taps(self) -> bool {
        !matches!(self, Kind::Native | Kind::NativeLo | Kind::NativeNooff | Kind::Gvisor)
    }
}

impl Choice {
    /// The name in options and reports.
    pub fn name(self) -> String {
        match self.link {
            Link::Tap => self.kind.name().to_owned(),
            Link::Bridge => format!("{}@bridge", self.kind.name()),
            Link::Guests => format!("{}@guests", self.kind.name()),
        }
    }

    /// The systems that a word of `--systems` stands for: itself, or a group's.
    pub fn expand(word: &str) -> Result<Vec<Choice>, String> {
        let plain = |kinds: &[Kind]| kinds.iter().map(|kind| Choice { kind: *kind, link: Link::Tap }).collect();
        match word {
            "all" => Ok(plain(&Kind::ALL)),
            "peers" => Ok(plain(&Kind::PEERS)),
            "default" => Ok(plain(&Kind::DEFAULT)),
            word => word.parse().map(|choice| vec![choice]),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (name, link) = word.split_once('@').map_or((word, None), |(name, link)| (name, Some(link)));
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let names = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!("no system '{name}': accepted are {names}, and the groups default, peers, all"));
        };
        let link = match link {
            None => Link::Tap,
            Some("bridge") if kind.has_taps() => Link::Bridge,
            Some("guests") if kind.has_taps() => Link::Guests,
            Some("bridge" | "guests") => return Err(format!("{name} has no tap that could be put on a bridge")),
            Some(other) => return Err(format!("no link '@{other}': accepted are @bridge and @guests")),
        };
        Ok(Choice { kind, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            for link in [Link::Tap, Link::Bridge, Link::Guests] {
                let choice = Choice { kind, link };
                if link == Link::Tap || kind.has_taps() {
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
        assert!(Choice::expand("um@vhost").unwrap_err().contains("@bridge"));
        assert!(Choice::expand("gvisor@bridge").is_err());
    }
}
