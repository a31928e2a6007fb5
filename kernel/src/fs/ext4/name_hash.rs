//! The hashes of names by which a directory's hash tree is ordered.
//!
//! Three functions, each over signed or unsigned characters: the image was made on a machine with the one or the other,
//! and a flag of its superblock says which (`s_flags`). The seed is the superblock's, too. Values are even; the lowest bit
//! marks, in the tree, a block whose first names have the hash of the last ones of the block before.
//! Source: <https://docs.kernel.org/filesystems/ext4/dynamic.html#hash-tree-directories>.

use super::bytes::le32;

/// The largest hash that a name has: the one above it means the end of a directory to Linux.
const LARGEST: u32 = 0xffff_fffc;
/// What stands for a seed of zeros: MD4's start.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Which function (`s_def_hash_version`, `dx_root_info.hash_version`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HashVersion {
    Legacy,
    HalfMd4,
    Tea,
}

impl HashVersion {
    /// The function of a number on disk.
    pub fn parse(number: u8) -> Option<Self> {
        Some(match number {
            0 => HashVersion::Legacy,
            1 => HashVersion::HalfMd4,
            2 => HashVersion::Tea,
            _ => return None,
        })
    }

    /// Its number on disk.
    pub const fn number(self) -> u8 {
        match self {
            HashVersion::Legacy => 0,
            HashVersion::HalfMd4 => 1,
            HashVersion::Tea => 2,
        }
    }
}

/// What a file system hashes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NameHash {
    /// For new trees; each tree says its own.
    pub version: HashVersion,
    /// Whether characters count as unsigned.
    pub unsigned: bool,
    seed: [u32; 4],
}

impl NameHash {
    /// From `s_hash_seed`, `s_def_hash_version` and whether `s_flags` says unsigned.
    pub fn new(seed: &[u8], version: u8, unsigned: bool) -> Self {
        let words = [le32(seed, 0), le32(seed, 4), le32(seed, 8), le32(seed, 12)];
        let seed = if words == [0; 4] { DEFAULT_SEED } else { words };
        NameHash { version: HashVersion::parse(version).unwrap_or(HashVersion::HalfMd4), unsigned, seed }
    }

    /// The hash of a name, in a tree of that version.
    pub fn of(&self, version: HashVersion, name: &[u8]) -> u32 {
        let hash = match version {
            HashVersion::Legacy => self.legacy(name),
            HashVersion::HalfMd4 => {
                let mut state = self.seed;
                let mut rest = name;
                while !rest.is_empty() {
                    half_md4(&mut state, &self.words::<8>(rest));
                    rest = rest.get(32..).unwrap_or_default();
                }
                state[1]
            }
            HashVersion::Tea => {
                let mut state = self.seed;
                let mut rest = name;
                while !rest.is_empty() {
                    tea(&mut state, &self.words::<4>(rest));
                    rest = rest.get(16..).unwrap_or_default();
                }
                state[0]
            }
        };
        (hash & !1).min(LARGEST)
    }

    fn character(&self, byte: u8) -> u32 {
        if self.unsigned { byte.into() } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &byte in name {
            let mut hash = before.wrapping_add(last ^ self.character(byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, hash);
        }
        last << 1
    }

    /// The next `N` words of a name, filled up with its length.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let len = rest.len() as u32;
        let pad = len | len << 8;
        let pad = pad | pad << 16;
        let mut out = [pad; N];
        for (word, bytes) in out.iter_mut().zip(rest.chunks(4)) {
            *word = bytes.iter().fold(pad, |w, &b| self.character(b).wrapping_add(w << 8));
        }
        out
    }
}

/// Three rounds of MD4 over half a block (`half_md4_transform`).
fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, &word) in order.iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[word]).wrapping_add(constant);
            // The registers change places, so that each step changes "a".
            (a, d, c, b) = (d, c, b, sum.rotate_left(shifts[step % 4]));
        }
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

/// Sixteen rounds of the Tiny Encryption Algorithm (`TEA_transform`).
fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let [mut x, mut y, ..] = *state;
    let mut sum = 0u32;
    let half = |v: u32, sum: u32, k0: u32, k1: u32| {
        ((v << 4).wrapping_add(k0)) ^ v.wrapping_add(sum) ^ ((v >> 5).wrapping_add(k1))
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        x = x.wrapping_add(half(y, sum, key[0], key[1]));
        y = y.wrapping_add(half(x, sum, key[2], key[3]));
    }
    state[0] = state[0].wrapping_add(x);
    state[1] = state[1].wrapping_add(y);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `debugfs -R "dx_hash -h VERSION -s 5f3c2b1a-0001-4002-8003-a1b2c3d4e5f6 NAME"` has them.
    #[test]
    fn values_of_e2fsprogs() {
        let seed = [0x5f, 0x3c, 0x2b, 0x1a, 0, 1, 0x40, 2, 0x80, 3, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6];
        let hash = NameHash::new(&seed, 1, false);
        for (name, legacy, half_md4, tea) in [
            ("a", 0xe74b_53e2, 0xda63_bc1c, 0xdae6_a624),
            ("lost+found", 0x5e2a_ba24, 0xf07a_38d0, 0x903d_013a),
            ("a-rather-long-name-for-a-file-that-goes-over-one-block", 0xacec_0238, 0x5a41_07bc, 0x6f3f_ee98),
            ("straße-ä", 0x7e30_f0d6, 0xc56b_7d76, 0x8d4c_903a),
        ] {
            assert_eq!(hash.of(HashVersion::Legacy, name.as_bytes()), legacy, "{name}");
            assert_eq!(hash.of(HashVersion::HalfMd4, name.as_bytes()), half_md4, "{name}");
            assert_eq!(hash.of(HashVersion::Tea, name.as_bytes()), tea, "{name}");
        }
        let plain = NameHash::new(&[0; 16], 1, false);
        assert_eq!(plain.of(HashVersion::HalfMd4, b"hello"), 0x1746_da32);
    }

    #[test]
    fn signs_matter_beyond_ascii_only() {
        let (signed, unsigned) = (NameHash::new(&[1; 16], 1, false), NameHash::new(&[1; 16], 1, true));
        for version in [HashVersion::Legacy, HashVersion::HalfMd4, HashVersion::Tea] {
            assert_eq!(signed.of(version, b"plain"), unsigned.of(version, b"plain"));
            assert_ne!(signed.of(version, "ä".as_bytes()), unsigned.of(version, "ä".as_bytes()));
        }
    }
}
