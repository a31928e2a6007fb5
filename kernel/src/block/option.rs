//! `ubd<n>[flags]=[cow,]image`: a block device on the command line, as User-Mode Linux spells it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// Most devices of a machine (`ubd0` to `ubd15`, `ubda` to `ubdp`).
pub const MAX_DISKS: u32 = 16;

/// The accepted form, for messages.
pub const ACCEPTED: &str = "ubd<N>[r][s][c]=[COW-FILE,]IMAGE with N from 0 to 15 or a to p";

/// A device that the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UbdSpec {
    /// 0 for ubda.
    pub index: u32,
    /// `r`: it cannot be written.
    pub read_only: bool,
    /// `s`: each write reaches the host's storage at once.
    pub synchronous: bool,
    /// `c`: the image is not locked.
    pub shared: bool,
    /// The copy-on-write file before the image.
    pub cow: Option<String>,
    /// The image; itself a COW file perhaps, which names its image.
    pub image: String,
}

impl UbdSpec {
    /// Parses a word of the command line. `None` if it is no such option; an error is one line with the accepted form.
    pub fn parse(word: &str) -> Option<Result<UbdSpec, String>> {
        let (name, value) = word.split_once('=')?;
        let unit = name.strip_prefix("ubd")?;
        if !unit.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Self::from_parts(unit, value).map_err(|problem| format!("{word}: {problem}; accepted: {ACCEPTED}")))
    }

    fn from_parts(unit: &str, value: &str) -> Result<UbdSpec, &'static str> {
        let digits = unit.bytes().take_while(u8::is_ascii_digit).count();
        let (index, flags) = if digits > 0 {
            (unit[..digits].parse().unwrap_or(MAX_DISKS), &unit[digits..])
        } else {
            (u32::from(unit.as_bytes()[0].wrapping_sub(b'a')), &unit[1..])
        };
        if index >= MAX_DISKS {
            return Err("no such device number");
        }
        let mut spec =
            UbdSpec { index, read_only: false, synchronous: false, shared: false, cow: None, image: String::new() };
        for flag in flags.bytes() {
            match flag {
                b'r' => spec.read_only = true,
                b's' => spec.synchronous = true,
                b'c' => spec.shared = true,
                // Data without COW look-up and without trimming: both are how things are here anyway.
                b'd' | b't' => {}
                _ => return Err("unknown flag"),
            }
        }
        let (cow, image) = match value.split_once([',', ':']) {
            Some((cow, image)) => (Some(cow), image),
            None => (None, value),
        };
        if image.is_empty() || cow == Some("") {
            return Err("no image is named");
        }
        spec.cow = cow.map(ToOwned::to_owned);
        spec.image = image.to_owned();
        Ok(spec)
    }

    /// The device's name without `/dev/`.
    pub fn name(&self) -> String {
        disk_name(self.index)
    }
}

/// `ubda` for 0.
pub fn disk_name(index: u32) -> String {
    format!("ubd{}", char::from(b'a' + (index % 26) as u8))
}

/// The number of the disk that a name means: `/dev/ubda`, `ubda1`, `/dev/ubd0`.
pub fn disk_of(name: &str) -> Option<u32> {
    let unit = name.strip_prefix("/dev/").unwrap_or(name).strip_prefix("ubd")?;
    let unit = unit.strip_prefix('/').unwrap_or(unit);
    match unit.as_bytes().first()? {
        b'0'..=b'9' => unit.parse().ok(),
        letter => Some(u32::from(letter.wrapping_sub(b'a'))),
    }
    .filter(|&index| index < MAX_DISKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<UbdSpec, String> {
        UbdSpec::parse(word).unwrap()
    }

    #[test]
    fn all_spellings() {
        let plain = parse("ubd0=./alpine.ext4").unwrap();
        assert_eq!((plain.index, plain.read_only, plain.image.as_str()), (0, false, "./alpine.ext4"));
        let cow = parse("ubd1rs=my.cow,/srv/base.img").unwrap();
        assert!(cow.read_only && cow.synchronous && !cow.shared);
        assert_eq!((cow.index, cow.cow.as_deref(), cow.image.as_str()), (1, Some("my.cow"), "/srv/base.img"));
        assert_eq!(parse("ubdc=x").unwrap().name(), "ubdc");
        assert!(UbdSpec::parse("ubdisk").is_none() && UbdSpec::parse("hda=x").is_none());
    }

    #[test]
    fn names_lead_to_disks() {
        let found = ["/dev/ubda", "ubdb3", "/dev/ubd1", "/dev/ubd/0", "sda", "/dev/ubdz"].map(disk_of);
        assert_eq!(found, [Some(0), Some(1), Some(1), Some(0), None, None]);
    }

    #[test]
    fn errors_name_the_option_and_the_form() {
        for word in ["ubd16=x", "ubd0z=x", "ubd0=", "ubd0=,x", "ubdz=x"] {
            let e = parse(word).unwrap_err();
            assert!(e.starts_with(word) && e.contains("accepted:"), "{e}");
        }
    }
}
