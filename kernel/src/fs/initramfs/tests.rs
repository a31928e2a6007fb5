//! Archives that the host's tools made, and some that nobody should make.

use super::*;
use crate::fs::inode::{FileSystem, LinkTarget};
use crate::mm::IovDest;
use std::process::{Command, Stdio};

/// An archive by the host's cpio, through a compressor.
fn archive(name: &str, compressor: &str) -> Vec<u8> {
    let dir = std::env::temp_dir().join(format!("flatland-cpio-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("usr/bin")).unwrap();
    std::fs::write(dir.join("usr/bin/prog"), vec_of(b"program ", 5000)).unwrap();
    std::fs::hard_link(dir.join("usr/bin/prog"), dir.join("usr/bin/second")).unwrap();
    std::os::unix::fs::symlink("usr/bin", dir.join("bin")).unwrap();
    std::fs::write(dir.join("init"), "#!/bin/sh\n").unwrap();
    let script = format!("find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null | {compressor}");
    let out = Command::new("sh").args(["-c", &script]).current_dir(&dir).stderr(Stdio::inherit()).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(out.status.success());
    out.stdout
}

fn vec_of(text: &[u8], times: usize) -> Vec<u8> {
    text.repeat(times)
}

fn find(fs: &TmpFs, path: &str) -> Result<Arc<dyn Inode>> {
    path.split('/').try_fold(fs.root() as Arc<dyn Inode>, |dir, name| dir.lookup(name.as_bytes()))
}

fn contents(inode: &Arc<dyn Inode>) -> Vec<u8> {
    let file = OpenFile::anonymous(inode.clone().open(OpenFlags::empty()).unwrap(), OpenFlags::empty());
    let mut buf = alloc::vec![0; inode.metadata().unwrap().size as usize];
    file.ops().read(&file, &mut IovDest::kernel(&mut buf), Some(0)).unwrap();
    buf
}

fn check(fs: &TmpFs) {
    let prog = find(fs, "usr/bin/prog").unwrap();
    assert!(contents(&prog) == vec_of(b"program ", 5000));
    assert_eq!(prog.id(), find(fs, "usr/bin/second").unwrap().id());
    let link = find(fs, "bin").unwrap();
    assert!(matches!(link.read_link().unwrap(), LinkTarget::Text(t) if t == b"usr/bin"));
}

#[test]
fn plain_and_compressed_archives_are_unpacked() {
    for (name, compressor) in [("plain", "cat"), ("gzip", "gzip -9"), ("zstd", "zstd -q -19")] {
        check(&unpack(&archive(name, compressor), 1 << 24).unwrap_or_else(|e| panic!("{name}: {e}")));
    }
}

#[test]
fn archives_follow_each_other_and_later_ones_win() {
    let mut both = archive("first", "cat");
    both.extend([0; 512]);
    both.extend(archive("again", "gzip"));
    both.extend(entry(b"usr/bin/prog", 0o100755, b"new"));
    both.extend(entry(b"bin/through-the-link", 0o100644, b"x"));
    both.extend(entry(b"TRAILER!!!", 0, b""));
    let fs = unpack(&both, 1 << 24).unwrap();
    assert_eq!(contents(&find(&fs, "usr/bin/prog").unwrap()), b"new");
    assert!(find(&fs, "usr/bin/through-the-link").is_ok());
}

/// One entry as bytes.
fn entry(name: &[u8], mode: u32, data: &[u8]) -> Vec<u8> {
    let fields = [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let mut b: Vec<u8> = b"070701".to_vec();
    for f in fields {
        b.extend(format!("{f:08x}").bytes());
    }
    b.extend(name);
    b.push(0);
    b.resize(b.len().next_multiple_of(4), 0);
    b.extend(data);
    b.resize(b.len().next_multiple_of(4), 0);
    b
}

#[test]
fn damaged_files_end_in_a_message() {
    let whole = archive("damaged", "gzip");
    assert!(unpack(&whole[..whole.len() / 2], 1 << 24).err().unwrap().contains("cut short"));
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    assert!(unpack(&flipped, 1 << 24).is_err());
    assert!(unpack(&archive("small", "cat"), 8192).err().unwrap().contains("mem="));
    assert!(unpack(b"hello world, this is no archive", 1 << 20).err().unwrap().contains("not a cpio"));
    assert!(unpack(b"BZh91AY", 1 << 20).err().unwrap().contains("bzip2"));
    assert!(unpack(&entry(b"../outside", 0o100644, b"x"), 1 << 20).err().unwrap().contains("leads out"));
    let plain = archive("cuts", "cat");
    for cut in (0..2000).step_by(7) {
        let _ = unpack(&plain[..cut], 1 << 20);
    }
}
