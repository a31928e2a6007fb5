//! SET_VRING_ENABLE, served before rust-vmm's `vhost` sees it.
//!
//! The specification lets a front-end send it once protocol features are agreed on. The crate takes "agreed" as acknowledged by
//! SET_FEATURES and refuses the message before; QEMU sends it while its guest's driver has not even started, hence long before
//! SET_FEATURES. So this one message is looked at in the socket's buffer, and if it is there whole, read and answered here.
//! Every other message, and whatever has an odd form, is the crate's.

use crate::vhost_user::message::{HEADER_LEN, Header, Request};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::os::unix::net::UnixStream;

/// Header, ring, state.
const LEN: usize = HEADER_LEN + 8;

/// A ring to be enabled, or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetVringEnable {
    pub(super) ring: u32,
    pub(super) enable: bool,
    /// The front-end wants to hear whether it worked, if that was agreed on.
    need_reply: bool,
}

impl SetVringEnable {
    fn parse(bytes: &[u8; LEN]) -> Option<SetVringEnable> {
        let header = Header::parse(bytes.first_chunk()?);
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let (ring, state) = (word(HEADER_LEN)?, word(HEADER_LEN + 4)?);
        let whole = header.is_request(Request::SetVringEnable) && header.size as usize == LEN - HEADER_LEN;
        (whole && state <= 1).then_some(SetVringEnable { ring, enable: state == 1, need_reply: header.needs_reply() })
    }

    /// Takes the message if it is the next on `stream`.
    ///
    /// # Errors
    /// Those of recv(2); that the connection has ended is for the crate to find.
    pub(super) fn take(stream: &UnixStream) -> io::Result<Option<SetVringEnable>> {
        let mut bytes = [0; LEN];
        let (_, len) = recv(stream, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
        let Some(message) = SetVringEnable::parse(&bytes).filter(|_| len == LEN) else { return Ok(None) };
        // What was looked at is there. Descriptors have no place in this message: the host closes them.
        recv(stream, &mut bytes[..], RecvFlags::DONTWAIT)?;
        Ok(Some(message))
    }

    /// Answers, if the front-end asked for it.
    ///
    /// # Errors
    /// Those of send(2).
    pub(super) fn acknowledge(self, stream: &UnixStream, succeeded: bool) -> io::Result<()> {
        if self.need_reply {
            send(stream, &Header::acknowledgement(Request::SetVringEnable, succeeded), SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::io::{Read, Write};

    fn message(words: [u32; 5]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn it_alone_is_taken_and_answered_when_asked() {
        let (mut front, back) = UnixStream::pair().unwrap();
        front.write_all(&message([18, 1 | 8, 8, 3, 1])).unwrap();
        front.write_all(&message([18, 1, 8, 2, 0])).unwrap();
        let first = SetVringEnable::take(&back).unwrap().unwrap();
        assert_eq!((first.ring, first.enable), (3, true));
        first.acknowledge(&back, true).unwrap();
        let mut answer = [0; 20];
        front.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], message([18, 1 | 4, 8, 0, 0]));
        first.acknowledge(&back, false).unwrap();
        front.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..], message([18, 1 | 4, 8, 1, 0]));
        let second = SetVringEnable::take(&back).unwrap().unwrap();
        assert_eq!((second.ring, second.enable), (2, false));
        second.acknowledge(&back, true).unwrap();
        front.set_nonblocking(true).unwrap();
        assert!(front.read(&mut answer).is_err(), "nobody asked");
    }

    #[test]
    fn everything_else_stays_where_it_is() {
        let cases = [[8, 1, 8, 3, 1], [18, 2, 8, 3, 1], [18, 1, 12, 3, 1], [18, 1 | 4, 8, 3, 1], [18, 1, 8, 3, 2]];
        for words in cases {
            let (mut front, mut back) = UnixStream::pair().unwrap();
            front.write_all(&message(words)[..19]).unwrap();
            assert_eq!(SetVringEnable::take(&back).unwrap(), None, "{words:?}, a part");
            front.write_all(&message(words)[19..]).unwrap();
            assert_eq!(SetVringEnable::take(&back).unwrap(), None, "{words:?}");
            let mut left = [0; 20];
            back.read_exact(&mut left).unwrap();
            assert_eq!(left[..], message(words));
        }
    }
}
