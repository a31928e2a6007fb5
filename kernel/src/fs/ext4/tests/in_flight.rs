//! Commits whose flushes take their time: what others do meanwhile, and what a kill leaves at each stage.

use super::*;
use crate::block::{Flush, Waits};

/// A device whose flushes end when the test says so.
struct SlowDevice {
    inner: Arc<TestDevice>,
    begun: std::sync::Mutex<Vec<Arc<Flush>>>,
}

impl BlockDevice for SlowDevice {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.inner.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn begin_flush(&self, _waits: Waits) -> Result<Option<Arc<Flush>>> {
        let flush = Flush::pending();
        self.begun.lock().unwrap().push(flush.clone());
        Ok(Some(flush))
    }
}

impl SlowDevice {
    /// Ends the flush that runs; a commit goes on with the next look at it.
    fn end(&self, result: Result<()>) {
        self.begun.lock().unwrap().pop().expect("a flush runs").end(result);
    }
}

impl Image {
    fn mount_slow(&self) -> (Arc<Ext4>, Arc<SlowDevice>) {
        let device = Arc::new(SlowDevice { inner: self.device(true, i64::MAX), begun: Default::default() });
        let disk = Disk { name: "slow".into(), number: DeviceNumber::anonymous(), device: device.clone() };
        (mount::open(&disk, true).unwrap(), device)
    }

    /// What is at `path` after a kill at this moment and recovery by e2fsck.
    fn after_kill(&self, path: &str) -> Vec<u8> {
        let copy = Image(self.0.with_extension("copy"));
        std::fs::copy(&self.0, &copy.0).unwrap();
        copy.recover();
        copy.cat(path)
    }
}

fn number(inode: &Dir) -> u32 {
    inode.id().ino as u32
}

#[test]
fn operations_go_on_while_a_commit_is_in_flight() {
    for (name, options) in [VARIANTS[0], VARIANTS[1]] {
        let image = Image::new(&format!("flight-{name}"), "40M", options);
        let (fs, device) = image.mount_slow();
        let root: Dir = fs.root();
        let f = make(&root, "first");
        write(&f, 0, &[1; 200_000]).unwrap();
        let begin = |inode: &Dir| {
            let mut core = fs.volume.core.lock();
            assert!(core.begin_sync_file(number(inode), false).unwrap().is_none());
            assert!(core.advance().unwrap().is_some(), "it is in flight");
        };
        begin(&f);
        // The next transaction changes what this one has written.
        let g = make(&root, "second");
        write(&g, 0, &[2; 100_000]).unwrap();
        write(&f, 0, &[3; 10]).unwrap();
        root.rename(b"first", &root, b"renamed", RenameMode::Replace).unwrap();
        assert!(image.after_kill("/first").is_empty(), "no commit block yet");
        device.end(Ok(()));
        assert!(fs.volume.core.lock().advance().unwrap().is_some(), "the commit block is being flushed");
        assert_eq!(image.after_kill("/first"), vec![1; 200_000]);
        device.end(Ok(()));
        let commits = fs.volume.core.lock().commits;
        assert!(fs.volume.core.lock().advance().unwrap().is_none());
        assert_eq!(fs.volume.core.lock().commits, commits + 1);
        begin(&f);
        for _ in 0..2 {
            device.end(Ok(()));
            fs.volume.core.lock().advance().unwrap();
        }
        let after = image.after_kill("/renamed");
        assert_eq!((after.len(), &after[..11]), (200_000, &[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1][..]));
        assert_eq!(image.after_kill("/second"), vec![2; 100_000]);
        vanish(fs);
    }
}

#[test]
fn what_a_commit_in_flight_freed_is_not_used_again() {
    let image = Image::new("flight-freed", "12M", &["-b", "1024"]);
    let (fs, device) = image.mount_slow();
    let root: Dir = fs.root();
    let f = make(&root, "f");
    write(&f, 0, &[1; 4_000_000]).unwrap();
    {
        let mut core = fs.volume.core.lock();
        core.begin_sync_file(number(&f), false).unwrap();
        for _ in 0..2 {
            core.advance().unwrap();
            device.end(Ok(()));
        }
        assert!(core.advance().unwrap().is_none());
    }
    let old: Vec<_> = fs.volume.core.lock().file(number(&f)).unwrap().extents.all().to_vec();
    f.set_attributes(&SetAttributes { size: Some(0), ..Default::default() }).unwrap();
    {
        let mut core = fs.volume.core.lock();
        core.begin_sync_file(number(&f), false).unwrap();
        assert!(core.advance().unwrap().is_some());
    }
    let g = make(&root, "g");
    write(&g, 0, &[2; 2_000_000]).unwrap();
    let mut core = fs.volume.core.lock();
    for e in core.file(number(&g)).unwrap().extents.all() {
        let apart = |o: &super::super::extent::Extent| {
            e.physical + u64::from(e.len) <= o.physical || o.physical + u64::from(o.len) <= e.physical
        };
        assert!(old.iter().all(apart), "a block is used again before its freeing is durable");
    }
    drop(core);
    vanish(fs);
}

#[test]
fn a_flush_that_fails_stops_all_writing() {
    let image = Image::new("flight-fails", "20M", &[]);
    let (fs, device) = image.mount_slow();
    let root: Dir = fs.root();
    let f = make(&root, "f");
    fs.volume.core.lock().begin_sync_file(number(&f), false).unwrap();
    device.end(Err(Errno::EIO.into()));
    assert_eq!(errno(fs.volume.core.lock().advance()), Some(Errno::EIO));
    assert_eq!(errno(root.create(b"g", &new(NewKind::Regular))), Some(Errno::EROFS));
    assert_eq!(errno(f.sync(false)), Some(Errno::EIO));
    vanish(fs);
}
