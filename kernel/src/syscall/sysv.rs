//! What the calls of the three System V families have in common: commands, and `struct ipc_perm`.

use crate::ipc::sysv::Permissions;

pub(super) const IPC_RMID: i32 = 0;
pub(super) const IPC_SET: i32 = 1;
pub(super) const IPC_STAT: i32 = 2;
pub(super) const IPC_INFO: i32 = 3;

/// Bits of an identifier below its sequence number.
const SEQUENCE_SHIFT: u32 = 15;

/// `struct ipc64_perm` as x86-64 has it, in words: key, uid, gid, cuid, cgid, mode of 32 bits each, seq of 16.
pub(super) fn encode_permissions(p: &Permissions, id: i32) -> [u64; 6] {
    let two = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let sequence = u64::from(id as u32 >> SEQUENCE_SHIFT) & 0xffff;
    [two(p.key as u32, p.uid.0), two(p.gid.0, p.creator_uid.0), two(p.creator_gid.0, p.mode), sequence, 0, 0]
}

/// User, group and mode of a structure that begins with `struct ipc64_perm` (IPC_SET).
pub(super) fn decode_owner(words: &[u64]) -> (u32, u32, u32) {
    ((words[0] >> 32) as u32, words[1] as u32, (words[2] >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Gid, Uid};

    #[test]
    fn permissions_lie_where_the_abi_has_them() {
        let p =
            Permissions { key: -2, uid: Uid(1), gid: Gid(2), creator_uid: Uid(3), creator_gid: Gid(4), mode: 0o640 };
        let words = encode_permissions(&p, 5 << 15 | 7);
        assert_eq!(words, [0x1_ffff_fffe, 0x3_0000_0002, 0x1a0_0000_0004, 5, 0, 0]);
        assert_eq!(decode_owner(&words), (1, 2, 0o640));
    }
}
