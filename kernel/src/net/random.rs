//! Unpredictable numbers from one secret: a keyed hash (SipHash-2-4, Aumasson and Bernstein 2012) serves initial
//! sequence numbers (RFC 6528) and identifiers, and in counter mode ports and nonces (RFC 6056).

/// A 128-bit secret; nothing about it shows on the wire.
#[derive(Clone)]
pub struct Secret {
    k0: u64,
    k1: u64,
}

impl Secret {
    /// Makes the secret from host entropy.
    pub fn new(seed: [u8; 16]) -> Secret {
        let (a, b) = seed.split_at(8);
        Secret { k0: le64(a), k1: le64(b) }
    }

    /// SipHash-2-4 of `data`.
    pub fn hash(&self, data: &[u8]) -> u64 {
        let mut v = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        let mut words = data.chunks_exact(8);
        for word in &mut words {
            absorb(&mut v, le64(word));
        }
        let mut last = (data.len() as u64) << 56;
        for (i, byte) in words.remainder().iter().enumerate() {
            last |= u64::from(*byte) << (8 * i);
        }
        absorb(&mut v, last);
        v[2] ^= 0xff;
        for _ in 0..4 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

/// Random numbers nobody outside can foresee: the keyed hash of a counter.
pub struct Rng {
    secret: Secret,
    counter: u64,
}

impl Rng {
    /// A generator over its own secret.
    pub fn new(seed: [u8; 16]) -> Rng {
        Rng { secret: Secret::new(seed), counter: 0 }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.secret.hash(&self.counter.to_le_bytes())
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias of the multiplication is below 2⁻³².
    pub fn below(&mut self, bound: u32) -> u32 {
        let bits = self.next_u64() as u32;
        ((u64::from(bits) * u64::from(bound)) >> 32) as u32
    }

    /// A fresh secret that shares nothing observable with this one.
    pub fn secret(&mut self) -> Secret {
        Secret { k0: self.next_u64(), k1: self.next_u64() }
    }
}

fn le64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_matches_the_reference_vectors() {
        let mut key = [0u8; 16];
        let mut input = [0u8; 16];
        for i in 0..16 {
            key[i] = i as u8;
            input[i] = i as u8;
        }
        let secret = Secret::new(key);
        // Appendix A of the SipHash paper, and the first vector of its reference code.
        assert_eq!(secret.hash(&input[..15]), 0xa129_ca61_49be_45e5);
        assert_eq!(secret.hash(&[]), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut rng = Rng::new([7; 16]);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[rng.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(rng.below(0), 0);
    }
}
