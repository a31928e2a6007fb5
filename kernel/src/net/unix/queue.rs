//! The inbox of a unix socket, and the accounts of those who fill it.

use super::name::Name;
use super::rights::{Cargo, Credential, Rights};
use crate::error::Result;
use crate::fs::file::OpenFile;
use crate::fs::poll::PollEvents;
use crate::mm::{IovDest, IovSource};
use crate::sched::WaitQueue;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// `net.core.wmem_default`: bytes that a socket may leave unread in others' inboxes.
pub(super) const DEFAULT_SEND_BUFFER: usize = 212_992;
/// Bytes of one message of a stream, at most.
const CHUNK: usize = 32 * 1024;
/// What a small write to a stream reserves, for the next ones to fill up.
const CHUNK_MIN: usize = 512;
/// What a datagram counts beside its bytes, so that empty ones do not come for nothing.
const MESSAGE_OVERHEAD: usize = 512;

/// Bytes that a socket has sent and nobody has read.
pub(super) struct SendBuffer {
    used: AtomicUsize,
    limit: AtomicUsize,
    waiters: Arc<WaitQueue>,
}

impl SendBuffer {
    pub(super) fn new(waiters: Arc<WaitQueue>) -> Arc<Self> {
        Arc::new(SendBuffer { used: AtomicUsize::new(0), limit: AtomicUsize::new(DEFAULT_SEND_BUFFER), waiters })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.waiters.wake(PollEvents::WRITABLE);
    }

    pub(super) fn room(&self) -> usize {
        self.limit().saturating_sub(self.used())
    }

    /// As Linux: not before three quarters are free, so that a writer is not woken for each byte read.
    pub(super) fn writable(&self) -> bool {
        self.used() * 4 <= self.limit()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if self.writable() {
            self.waiters.wake(PollEvents::WRITABLE);
        }
    }
}

struct Message {
    bytes: Vec<u8>,
    /// How much of it has been read (streams).
    start: usize,
    from: Option<Name>,
    credential: Credential,
    rights: Rights,
    account: Arc<SendBuffer>,
    charged: usize,
}

/// What came out of an inbox.
#[derive(Default)]
pub(super) struct Taken {
    /// Bytes copied.
    pub(super) copied: usize,
    /// Bytes of the message, where messages have borders.
    pub(super) whole: usize,
    pub(super) from: Option<Name>,
    pub(super) credential: Option<Credential>,
    pub(super) files: Vec<Arc<OpenFile>>,
    freed: Option<(Arc<SendBuffer>, usize)>,
}

impl Taken {
    /// Tells the sender that there is room again; without the inbox's lock.
    pub(super) fn settle(&mut self) {
        if let Some((account, bytes)) = self.freed.take() {
            account.release(bytes);
        }
    }

    fn free(&mut self, account: &Arc<SendBuffer>, bytes: usize) {
        match &mut self.freed {
            Some((_, sum)) => *sum += bytes,
            None => self.freed = Some((account.clone(), bytes)),
        }
    }
}

/// Messages in the order they came.
#[derive(Default)]
pub(super) struct Inbox {
    messages: VecDeque<Message>,
    /// An empty chunk for the next message.
    spare: Option<Vec<u8>>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Messages.
    pub(super) fn count(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of all messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the first message.
    pub(super) fn first_len(&self) -> usize {
        self.messages.front().map_or(0, |m| m.bytes.len() - m.start)
    }

    /// Every description on its way here.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<OpenFile>> {
        self.messages.iter().flat_map(|m| m.rights.files())
    }

    /// Takes up to `room` bytes of a stream. The cargo goes with the first of them, and comes back if there are none.
    pub(super) fn write_stream(
        &mut self,
        src: &mut IovSource<'_>,
        room: usize,
        from: &Option<Name>,
        mut cargo: Cargo,
        account: &Arc<SendBuffer>,
    ) -> (Result<usize>, Rights) {
        let mut done = 0;
        while done < room && !src.is_empty() {
            let step = match self.messages.back_mut() {
                Some(last)
                    if cargo.rights.is_empty()
                        && last.rights.is_empty()
                        && last.credential == cargo.credential
                        && last.bytes.len() < last.bytes.capacity() =>
                {
                    let space = last.bytes.capacity() - last.bytes.len();
                    let step = append(&mut last.bytes, src, space.min(room - done));
                    last.charged += step.as_ref().map_or(0, |n| *n);
                    step
                }
                _ => {
                    let len = src.remaining().min(room - done).min(CHUNK);
                    let mut bytes = self.spare.take().unwrap_or_default();
                    bytes.reserve_exact(len.max(CHUNK_MIN));
                    let step = append(&mut bytes, src, len);
                    match step {
                        Ok(n) if n > 0 => self.messages.push_back(Message {
                            bytes,
                            start: 0,
                            from: from.clone(),
                            credential: cargo.credential,
                            rights: core::mem::take(&mut cargo.rights),
                            account: account.clone(),
                            charged: n,
                        }),
                        _ => self.spare = Some(bytes),
                    }
                    step
                }
            };
            match step {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    self.bytes += n;
                    account.used.fetch_add(n, Ordering::Relaxed);
                }
                Err(e) if done == 0 => return (Err(e), cargo.rights),
                Err(_) => break,
            }
        }
        (Ok(done), cargo.rights)
    }

    /// Takes a message whole.
    pub(super) fn write_message(
        &mut self,
        bytes: Vec<u8>,
        from: &Option<Name>,
        cargo: Cargo,
        account: &Arc<SendBuffer>,
    ) {
        let charged = bytes.len() + MESSAGE_OVERHEAD;
        self.bytes += bytes.len();
        account.used.fetch_add(charged, Ordering::Relaxed);
        let Cargo { credential, rights } = cargo;
        let account = account.clone();
        self.messages.push_back(Message { bytes, start: 0, from: from.clone(), credential, rights, account, charged });
    }

    /// Copies bytes of a stream out. A call does not go past a message that brought descriptions; with `same_sender`,
    /// nor past one with other credentials.
    pub(super) fn read_stream(&mut self, dst: &mut IovDest<'_>, peek: bool, same_sender: bool) -> Result<Taken> {
        let mut taken = Taken::default();
        let mut index = 0;
        while !dst.is_empty()
            && let Some(message) = self.messages.get_mut(index)
        {
            if index == 0 && taken.credential.is_none() {
                taken.from = message.from.clone();
            }
            if taken.credential.is_some_and(|c| same_sender && c != message.credential) {
                break;
            }
            let n = match dst.put(&message.bytes[message.start..]) {
                Ok(n) => n,
                Err(e) if taken.copied == 0 => return Err(e),
                Err(_) => break,
            };
            taken.copied += n;
            taken.credential.get_or_insert(message.credential);
            let stop = !message.rights.is_empty();
            if peek {
                taken.files.extend_from_slice(message.rights.files());
                index += 1;
            } else {
                taken.files.extend(core::mem::take(&mut message.rights).deliver());
                message.start += n;
                message.charged -= n;
                self.bytes -= n;
                taken.free(&message.account, n);
                if message.start < message.bytes.len() {
                    break;
                }
                if let Some(mut empty) = self.messages.pop_front() {
                    empty.bytes.clear();
                    self.spare = Some(empty.bytes);
                }
            }
            if stop {
                break;
            }
        }
        Ok(taken)
    }

    /// Copies a message out; what does not fit is lost. The inbox must not be empty.
    pub(super) fn read_message(&mut self, dst: &mut IovDest<'_>, peek: bool) -> Result<Taken> {
        let mut taken = Taken::default();
        let Some(message) = self.messages.front_mut() else { return Ok(taken) };
        let copied = dst.put(&message.bytes);
        taken.whole = message.bytes.len();
        taken.from = message.from.clone();
        taken.credential = Some(message.credential);
        if peek {
            taken.files.extend_from_slice(message.rights.files());
        } else {
            taken.files = core::mem::take(&mut message.rights).deliver();
            let (account, charged) = (message.account.clone(), message.charged);
            taken.free(&account, charged);
            self.bytes -= taken.whole;
            self.messages.pop_front();
        }
        taken.copied = copied?;
        Ok(taken)
    }

    /// Throws everything away; the caller disposes of the descriptions and settles the accounts without a lock.
    pub(super) fn drain(&mut self) -> Leftovers {
        self.bytes = 0;
        self.spare = None;
        Leftovers(core::mem::take(&mut self.messages))
    }
}

/// Messages that nobody will read.
pub(super) struct Leftovers(VecDeque<Message>);

impl Leftovers {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets them go, without a lock.
    pub(super) fn dispose(self) {
        for message in self.0 {
            message.account.release(message.charged);
            super::rights::dispose(message.rights);
        }
    }
}

/// Appends up to `max` bytes.
fn append(bytes: &mut Vec<u8>, src: &mut IovSource<'_>, max: usize) -> Result<usize> {
    let old = bytes.len();
    bytes.resize(old + max.min(src.remaining()), 0);
    let step = src.take(&mut bytes[old..]);
    bytes.truncate(old + step.as_ref().map_or(0, |n| *n));
    step
}

/// All of a message's bytes.
pub(super) fn gather(src: &mut IovSource<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; src.remaining()];
    let mut done = 0;
    while done < bytes.len() {
        match src.take(&mut bytes[done..])? {
            0 => break,
            n => done += n,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cargo() -> Cargo {
        Cargo { credential: Credential { pid: 1, uid: 2, gid: 3 }, rights: Rights::default() }
    }

    fn account() -> Arc<SendBuffer> {
        SendBuffer::new(Arc::new(WaitQueue::new()))
    }

    fn write(inbox: &mut Inbox, bytes: &[u8], room: usize, account: &Arc<SendBuffer>) -> usize {
        inbox.write_stream(&mut IovSource::kernel(bytes), room, &None, cargo(), account).0.unwrap()
    }

    #[test]
    fn small_writes_share_a_message_and_are_accounted_until_read() {
        let (mut inbox, account) = (Inbox::default(), account());
        assert_eq!(write(&mut inbox, b"abc", 100, &account), 3);
        assert_eq!(write(&mut inbox, b"defg", 2, &account), 2);
        assert_eq!((inbox.count(), inbox.bytes(), account.used()), (1, 5, 5));
        let mut out = [0; 4];
        let mut taken = inbox.read_stream(&mut IovDest::kernel(&mut out), true, false).unwrap();
        taken.settle();
        assert_eq!((taken.copied, account.used()), (4, 5));
        let mut taken = inbox.read_stream(&mut IovDest::kernel(&mut out), false, false).unwrap();
        taken.settle();
        assert_eq!((&out, account.used(), inbox.bytes()), (b"abcd", 1, 1));
    }

    #[test]
    fn a_long_write_is_read_across_its_chunks() {
        let (mut inbox, account) = (Inbox::default(), account());
        let sent: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        assert_eq!(write(&mut inbox, &sent, 1 << 20, &account), sent.len());
        let mut got = vec![0; sent.len()];
        let mut taken = inbox.read_stream(&mut IovDest::kernel(&mut got), false, true).unwrap();
        taken.settle();
        assert_eq!((taken.copied, account.used(), inbox.is_empty()), (sent.len(), 0, true));
        assert!(got == sent);
    }

    #[test]
    fn messages_keep_their_borders_and_lose_what_does_not_fit() {
        let (mut inbox, account) = (Inbox::default(), account());
        for bytes in [&b"long one"[..], b"", b"next"] {
            inbox.write_message(bytes.to_vec(), &None, cargo(), &account);
        }
        let mut out = [0; 5];
        let mut read = || {
            let mut taken = inbox.read_message(&mut IovDest::kernel(&mut out), false).unwrap();
            taken.settle();
            (taken.copied, taken.whole)
        };
        assert_eq!([read(), read(), read()], [(5, 8), (0, 0), (4, 4)]);
        assert_eq!(account.used(), 0);
    }
}
