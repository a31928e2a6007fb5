//! The file behind inotify_init(2): a queue of events that is read.
//!
//! An event that equals the last one in the queue is not queued again. When the queue is full, one event says so
//! (IN_Q_OVERFLOW) and further ones are lost until there is room.

use super::file::{FileOps, OpenFile};
use super::inode::Inode;
use super::notify::{self, MAX_QUEUED_EVENTS, Mask, Watch};
use super::poll::{PollEvents, PollWatch};
use crate::abi::ioctl::FIONREAD;
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use crate::task::{Thread, Uid};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// `sizeof(struct inotify_event)`; names are padded to multiples of it.
const HEADER: usize = 16;

/// Something that happened.
pub(super) struct Event<'a> {
    /// What.
    pub mask: Mask,
    /// To which entry of a directory.
    pub name: Option<&'a [u8]>,
    /// What the two halves of a rename have in common.
    pub cookie: u32,
}

impl Event<'_> {
    /// One without a name.
    pub const fn of(mask: Mask) -> Self {
        Event { mask, name: None, cookie: 0 }
    }
}

struct Queued {
    wd: i32,
    mask: Mask,
    cookie: u32,
    name: Option<Box<[u8]>>,
}

impl Queued {
    fn name_room(&self) -> usize {
        self.name.as_ref().map_or(0, |n| (n.len() + 1).next_multiple_of(HEADER))
    }

    fn len(&self) -> usize {
        HEADER + self.name_room()
    }

    /// `struct inotify_event` of inotify(7).
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&self.wd.to_ne_bytes());
        for word in [self.mask.bits(), self.cookie, self.name_room() as u32] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        out.extend_from_slice(self.name.as_deref().unwrap_or_default());
        out.resize(self.len(), 0);
        out
    }

    fn equals(&self, wd: i32, event: &Event<'_>) -> bool {
        self.wd == wd
            && self.mask == event.mask
            && self.name.as_deref() == event.name
            && !self.mask.contains(Mask::IGNORED)
    }
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    /// Whether IN_Q_OVERFLOW is in the queue.
    overflowed: bool,
    watches: BTreeMap<i32, Arc<Watch>>,
    last_wd: i32,
}

/// An inotify instance.
pub struct Inotify {
    me: Weak<Inotify>,
    user: Uid,
    state: SpinLock<State>,
    readable: Arc<WaitQueue>,
}

impl Inotify {
    /// An instance without watches. EMFILE if the user has too many.
    pub fn new(user: Uid) -> Result<Arc<Self>> {
        notify::begin_instance(user)?;
        Ok(Arc::new_cyclic(|me| Inotify {
            me: me.clone(),
            user,
            state: SpinLock::new(Rank::Pipe, State::default()),
            readable: Arc::new(WaitQueue::new()),
        }))
    }

    /// A counted reference.
    pub fn arc(&self) -> Option<Arc<Inotify>> {
        self.me.upgrade()
    }

    /// Whose limits it counts against.
    pub(super) fn user(&self) -> Uid {
        self.user
    }

    /// Watches an inode; returns the watch descriptor (inotify_add_watch(2)).
    pub fn watch(self: &Arc<Self>, inode: &Arc<dyn Inode>, mask: Mask) -> Result<i32> {
        notify::add_watch(self, inode, mask)
    }

    /// Ends a watch. EINVAL if there is none of this number (inotify_rm_watch(2)).
    pub fn unwatch(&self, wd: i32) -> Result<()> {
        let watch = self.state.lock().watches.get(&wd).cloned();
        notify::end_watch(self, &watch.ok_or(Errno::EINVAL.because("no such watch descriptor"))?);
        Ok(())
    }

    /// Gives a new watch its number.
    pub(super) fn enter(&self, make: impl FnOnce(i32) -> Arc<Watch>) -> Arc<Watch> {
        let mut state = self.state.lock();
        let mut wd = state.last_wd;
        loop {
            wd = wd.checked_add(1).unwrap_or(1);
            if !state.watches.contains_key(&wd) {
                break;
            }
        }
        state.last_wd = wd;
        let watch = make(wd);
        state.watches.insert(wd, watch.clone());
        watch
    }

    /// Forgets a watch.
    pub(super) fn leave(&self, wd: i32) -> Option<Arc<Watch>> {
        self.state.lock().watches.remove(&wd)
    }

    /// Queues an event of a watch.
    pub(super) fn push(&self, wd: i32, event: &Event<'_>) {
        {
            let mut state = self.state.lock();
            if state.queue.back().is_some_and(|last| last.equals(wd, event)) {
                return;
            }
            if state.queue.len() as u64 >= MAX_QUEUED_EVENTS.load(Ordering::Relaxed) {
                if state.overflowed {
                    return;
                }
                state.overflowed = true;
                state.queue.push_back(Queued { wd: -1, mask: Mask::Q_OVERFLOW, cookie: 0, name: None });
            } else {
                let name = event.name.map(Box::from);
                state.queue.push_back(Queued { wd, mask: event.mask, cookie: event.cookie, name });
            }
        }
        self.readable.wake(PollEvents::READABLE);
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = core::mem::take(&mut self.state.get_mut().watches);
        notify::end_instance(self.user, &watches);
    }
}

impl FileOps for Inotify {
    /// As many events as fit; EINVAL if the first does not.
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        let mut done = 0;
        loop {
            let event = {
                let mut state = self.state.lock();
                match state.queue.front() {
                    None if done == 0 => return Err(Errno::EAGAIN.into()),
                    Some(e) if e.len() > dst.remaining() && done == 0 => {
                        return Err(Errno::EINVAL.because("no room for the next event"));
                    }
                    Some(e) if e.len() <= dst.remaining() => state.queue.pop_front(),
                    _ => None,
                }
            };
            let Some(event) = event else { return Ok(done) };
            if event.mask.contains(Mask::Q_OVERFLOW) {
                self.state.lock().overflowed = false;
            }
            match dst.put(&event.bytes()) {
                Ok(n) => done += n,
                Err(_) if done > 0 => return Ok(done),
                Err(e) => return Err(e),
            }
        }
    }

    fn write(&self, _file: &OpenFile, _src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        Err(Errno::EBADF.because("an inotify instance is not written"))
    }

    /// lseek(2) succeeds and moves nothing.
    fn seekable(&self) -> bool {
        true
    }

    fn stays_at_start(&self) -> bool {
        true
    }

    fn locks_offset(&self) -> bool {
        false
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.readable);
        if self.state.lock().queue.is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }

    fn ioctl(&self, _thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY.into());
        }
        let bytes: usize = self.state.lock().queue.iter().map(Queued::len).sum();
        UserPtr::<i32>::new(arg).write(bytes as i32)?;
        Ok(0)
    }

    fn label(&self) -> String {
        String::from("anon_inode:inotify")
    }

    fn fd_info(&self) -> String {
        let state = self.state.lock();
        let line = |w: &Arc<Watch>| {
            let id = w.id();
            let device = id.dev.major() << 20 | id.dev.minor();
            format!(
                "inotify wd:{:x} ino:{:x} sdev:{device:x} mask:{:x} ignored_mask:0\n",
                w.wd,
                id.ino,
                w.mask().bits()
            )
        };
        state.watches.values().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::OpenFlags;
    use crate::fs::inode::FileSystem;
    use crate::fs::tmpfs::TmpFs;

    fn read(file: &OpenFile, len: usize) -> Result<Vec<u8>> {
        let mut bytes = alloc::vec![0; len];
        let n = file.ops().read(file, &mut IovDest::kernel(&mut bytes), None)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    #[test]
    fn equal_neighbours_are_one_event_and_names_are_padded() {
        let instance = Inotify::new(Uid(7001)).unwrap();
        let file = OpenFile::anonymous(instance.clone(), OpenFlags::empty());
        let named = |name: &'static [u8]| Event { mask: Mask::CREATE, name: Some(name), cookie: 0 };
        instance.push(1, &named(b"fifteen-letters"));
        instance.push(1, &named(b"fifteen-letters"));
        instance.push(1, &named(b"sixteen-letters!"));
        assert_eq!(read(&file, 31).unwrap_err().errno(), Errno::EINVAL);
        let bytes = read(&file, 79).unwrap();
        assert_eq!((bytes.len(), &bytes[12..16]), (32, &16u32.to_ne_bytes()[..]));
        assert_eq!(read(&file, 999).unwrap().len(), 48);
        assert_eq!(read(&file, 999).unwrap_err().errno(), Errno::EAGAIN);
    }

    #[test]
    fn a_full_queue_says_so_once() {
        let instance = Inotify::new(Uid(7002)).unwrap();
        let file = OpenFile::anonymous(instance.clone(), OpenFlags::empty());
        let max = MAX_QUEUED_EVENTS.load(Ordering::Relaxed) as i32;
        for wd in 0..max + 10 {
            instance.push(wd, &Event::of(Mask::OPEN));
        }
        let bytes = read(&file, HEADER * (max as usize + 9)).unwrap();
        assert_eq!(bytes.len(), HEADER * (max as usize + 1));
        assert_eq!(bytes[bytes.len() - HEADER..][..8], [&(-1i32).to_ne_bytes()[..], &0x4000u32.to_ne_bytes()].concat());
        instance.push(1, &Event::of(Mask::OPEN));
        assert_eq!(read(&file, 99).unwrap().len(), HEADER);
    }

    #[test]
    fn watches_are_numbered_changed_and_removed() {
        let instance = Inotify::new(Uid(7003)).unwrap();
        let (a, b) = (TmpFs::new("tmpfs", 0, 0o755), TmpFs::new("tmpfs", 0, 0o755));
        assert_eq!(instance.watch(&a.root(), Mask::OPEN).unwrap(), 1);
        assert_eq!(instance.watch(&b.root(), Mask::OPEN).unwrap(), 2);
        assert_eq!(instance.watch(&a.root(), Mask::CREATE | Mask::MASK_ADD).unwrap(), 1);
        let again = instance.watch(&a.root(), Mask::OPEN | Mask::MASK_CREATE);
        assert_eq!(again.unwrap_err().errno(), Errno::EEXIST);
        assert_eq!(instance.state.lock().watches[&1].mask(), Mask::OPEN | Mask::CREATE);
        instance.unwatch(1).unwrap();
        assert_eq!(instance.unwatch(1).unwrap_err().errno(), Errno::EINVAL);
        assert_eq!(instance.watch(&a.root(), Mask::OPEN).unwrap(), 3);
    }
}
