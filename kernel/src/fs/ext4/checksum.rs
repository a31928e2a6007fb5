//! The checksums of ext4: CRC-32C over most metadata, CRC-16 over group descriptors of older images.
//!
//! Both without the final inversion, as the format wants them. CRC-32C runs eight bytes a step over tables (slicing by
//! eight), because the instruction for it is beyond the x86-64 baseline that the kernel keeps to.

const fn crc32c_byte(mut crc: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        bit += 1;
    }
    crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        t[0][i] = crc32c_byte(i as u32);
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let last = t[k - 1][i];
            t[k][i] = (last >> 8) ^ t[0][(last & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

static TABLES: [[u32; 256]; 8] = tables();

/// CRC-32C of `data`, going on from `crc` (all ones at the start).
pub(super) fn crc32c(mut crc: u32, data: &[u8]) -> u32 {
    let mut words = data.chunks_exact(8);
    for w in &mut words {
        let low = crc ^ u32::from_le_bytes([w[0], w[1], w[2], w[3]]);
        let t = &TABLES;
        crc = t[7][(low & 0xff) as usize]
            ^ t[6][(low >> 8 & 0xff) as usize]
            ^ t[5][(low >> 16 & 0xff) as usize]
            ^ t[4][(low >> 24) as usize]
            ^ t[3][usize::from(w[4])]
            ^ t[2][usize::from(w[5])]
            ^ t[1][usize::from(w[6])]
            ^ t[0][usize::from(w[7])];
    }
    for &byte in words.remainder() {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    crc
}

/// CRC-16 (polynomial 0x8005, reflected), going on from `crc`.
pub(super) fn crc16(mut crc: u16, data: &[u8]) -> u16 {
    for &byte in data {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xa001 & (crc & 1).wrapping_neg());
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        // "123456789": CRC-32C is e3069283, CRC-16/ARC is bb3d.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }

    #[test]
    fn it_goes_on_across_any_cut() {
        let data: alloc::vec::Vec<u8> = (0..100u8).collect();
        for cut in 0..100 {
            assert_eq!(crc32c(crc32c(!0, &data[..cut]), &data[cut..]), crc32c(!0, &data));
        }
    }
}
