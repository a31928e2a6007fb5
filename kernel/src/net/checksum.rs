//! The Internet checksum (RFC 1071), summed eight bytes at a time.

use core::net::Ipv4Addr;

/// The unfolded one's complement sum of `bytes`, big-endian 16-bit words, an odd last byte padded with zero.
pub fn sum(bytes: &[u8]) -> u64 {
    // Sums native-endian words: the byte order of the result is swapped once at the end (RFC 1071, section 2.B).
    let mut lanes = [0u64; 4];
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    let mut total = lanes.iter().sum::<u64>();
    let mut pairs = blocks.remainder().chunks_exact(2);
    for pair in &mut pairs {
        total += u64::from(u16::from_ne_bytes([pair[0], pair[1]]));
    }
    if let [last] = pairs.remainder() {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    u64::from(u16::from_be(fold(total)))
}

/// Folds a sum to 16 bits; not complemented.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The finished checksum of `bytes`: 0 when they hold a correct checksum already.
pub fn of(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The sum of the TCP and UDP pseudo-header (RFC 9293, section 3.1); `len` counts transport header and payload.
pub fn pseudo_header(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: usize) -> u64 {
    sum(&src.octets()) + sum(&dst.octets()) + u64::from(protocol) + len as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn by_words(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|p| u64::from(p[0]) << 8 | p.get(1).map_or(0, |b| u64::from(*b)));
        fold(words.sum())
    }

    #[test]
    fn every_length_agrees_with_the_plain_sum() {
        let bytes: Vec<u8> = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(fold(sum(&bytes[..len])), by_words(&bytes[..len]), "length {len}");
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn a_block_that_holds_its_checksum_sums_to_zero() {
        let mut bytes = *b"\x45\x00\x00\x1c\x00\x01\x00\x00\x40\x01\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02";
        let c = of(&bytes).to_be_bytes();
        bytes[10..12].copy_from_slice(&c);
        assert_eq!(of(&bytes), 0);
    }
}
