//! Fields of structures on disk: little-endian (ext4) and big-endian (the journal).
//!
//! Offsets are constants of the format; the slices are whole blocks or records of known least size. A field beyond the
//! end reads as zero and is not written, so that no image can make the kernel panic.

/// The 16-bit field at `at`.
pub(super) fn le16(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2).map_or(0, |f| u16::from_le_bytes([f[0], f[1]]))
}

/// The 32-bit field at `at`.
pub(super) fn le32(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).map_or(0, |f| u32::from_le_bytes([f[0], f[1], f[2], f[3]]))
}

/// Two 32-bit halves as one number.
pub(super) fn le_split(b: &[u8], low: usize, high: usize) -> u64 {
    u64::from(le32(b, low)) | u64::from(le32(b, high)) << 32
}

/// Stores a 16-bit field.
pub(super) fn put16(b: &mut [u8], at: usize, value: u16) {
    if let Some(f) = b.get_mut(at..at + 2) {
        f.copy_from_slice(&value.to_le_bytes());
    }
}

/// Stores a 32-bit field.
pub(super) fn put32(b: &mut [u8], at: usize, value: u32) {
    if let Some(f) = b.get_mut(at..at + 4) {
        f.copy_from_slice(&value.to_le_bytes());
    }
}

/// The big-endian 32-bit field at `at`.
pub(super) fn be32(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).map_or(0, |f| u32::from_be_bytes([f[0], f[1], f[2], f[3]]))
}

/// Stores a big-endian 32-bit field.
pub(super) fn put_be32(b: &mut [u8], at: usize, value: u32) {
    if let Some(f) = b.get_mut(at..at + 4) {
        f.copy_from_slice(&value.to_be_bytes());
    }
}
