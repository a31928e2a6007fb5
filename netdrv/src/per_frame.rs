//! Sending where the host takes one frame with each system call: taps and packet sockets.

use crate::device::{DeviceError, DeviceStats, TxFrame};
use crate::frame::{FrameMeta, Mtu};
use crate::vnet_header::{self, ETHERNET_HEADER_LEN};
use rustix::io::{Errno, IoSlice};

/// Bytes of an 802.1Q tag, which a frame may carry on top of the MTU.
const VLAN_TAG_LEN: usize = 4;

/// Why one frame was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TxRefusal {
    /// It stays with the caller, to be offered again.
    QueueFull,
    /// It is lost; the next one may do better.
    NoMemory,
    /// It can never be sent.
    BadFrame,
    /// Nothing can be sent: what the host said is neither about this frame nor about room.
    Device(Errno),
}

/// Sends one frame with the `virtio_net_hdr` in front: `write` is the system call.
pub(crate) fn write_frame(
    mtu: Mtu,
    meta: &FrameMeta,
    parts: &[&[u8]],
    write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, Errno>,
) -> Result<(), TxRefusal> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let longest = usize::from(mtu.0) + ETHERNET_HEADER_LEN + VLAN_TAG_LEN;
    if parts.len() > TxFrame::MAX_PARTS || (meta.gso.is_none() && len > longest) {
        return Err(TxRefusal::BadFrame);
    }
    let header = vnet_header::encode(meta, len).map_err(|_| TxRefusal::BadFrame)?;
    let mut slices = [IoSlice::new(&header); TxFrame::MAX_PARTS + 1];
    for (slice, part) in slices[1..].iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    write(&slices[..=parts.len()]).map(drop).map_err(|errno| match errno {
        Errno::AGAIN => TxRefusal::QueueFull,
        Errno::NOMEM | Errno::NOBUFS => TxRefusal::NoMemory,
        // The host's checks of header against frame are stricter than ours.
        Errno::INVAL | Errno::MSGSIZE | Errno::OPNOTSUPP => TxRefusal::BadFrame,
        errno => TxRefusal::Device(errno),
    })
}

/// Sends `frames` one by one with `send`, and counts; returns how many are done with.
///
/// # Errors
/// What `device_error` makes of an errno, if the first frame met it: what went out before is reported first, and the next call
/// finds the error again.
pub(crate) fn transmit(
    frames: &[TxFrame<'_>],
    stats: &mut DeviceStats,
    device_error: impl Fn(Errno) -> DeviceError,
    mut send: impl FnMut(&TxFrame<'_>) -> Result<(), TxRefusal>,
) -> Result<usize, DeviceError> {
    for (taken, frame) in frames.iter().enumerate() {
        match send(frame) {
            Ok(()) => {
                stats.tx_packets += 1;
                stats.tx_bytes += frame.len() as u64;
            }
            Err(TxRefusal::NoMemory) => stats.tx_dropped += 1,
            Err(TxRefusal::BadFrame) => stats.tx_errors += 1,
            Err(TxRefusal::QueueFull) => return Ok(taken),
            Err(TxRefusal::Device(_)) if taken > 0 => return Ok(taken),
            Err(TxRefusal::Device(errno)) => return Err(device_error(errno)),
        }
    }
    Ok(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(results: &[Result<(), TxRefusal>]) -> (Result<usize, DeviceError>, [u64; 3]) {
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[0; 60]] };
        let frames = alloc::vec![frame; results.len()];
        let (mut stats, mut next) = (DeviceStats::default(), results.iter());
        let result = transmit(&frames, &mut stats, |_| DeviceError::LinkDown, |_| *next.next().expect("one for each"));
        (result, [stats.tx_packets, stats.tx_dropped, stats.tx_errors])
    }

    #[test]
    fn lost_frames_are_done_with_and_an_end_is_reported_once_it_is_first() {
        let down = Err(TxRefusal::Device(Errno::IO));
        let (dropped, bad, full) = (Err(TxRefusal::NoMemory), Err(TxRefusal::BadFrame), Err(TxRefusal::QueueFull));
        assert_eq!(send(&[Ok(()), dropped, bad, Ok(())]), (Ok(4), [2, 1, 1]));
        assert_eq!(send(&[Ok(()), full, Ok(())]), (Ok(1), [1, 0, 0]));
        assert_eq!(send(&[bad, down]), (Ok(1), [0, 0, 1]));
        assert_eq!(send(&[down, Ok(())]), (Err(DeviceError::LinkDown), [0, 0, 0]));
    }

    #[test]
    fn what_the_host_says_decides_whose_fault_it_is() {
        let write = |len: usize, errno| {
            let bytes = alloc::vec![0; len];
            write_frame(Mtu(1500), &FrameMeta::default(), &[&bytes], |_| Err(errno))
        };
        for (errno, refusal) in [
            (Errno::AGAIN, TxRefusal::QueueFull),
            (Errno::NOBUFS, TxRefusal::NoMemory),
            (Errno::MSGSIZE, TxRefusal::BadFrame),
            (Errno::NETDOWN, TxRefusal::Device(Errno::NETDOWN)),
        ] {
            assert_eq!(write(1518, errno), Err(refusal));
        }
        assert_eq!(write(1519, Errno::AGAIN), Err(TxRefusal::BadFrame), "longer than the MTU and a tag");
    }
}
