//! Damaged images: every structure on disk, bit by bit, overwritten, and cut short. Whatever is there, a mount or an
//! operation ends with an error or with something read, never in a panic or a loop, and nothing is written outside.

use super::*;
use crate::fs::ext4::superblock::Superblock;

/// A structure by its name, and the blocks that it lies in.
type Structure = (&'static str, Vec<u64>);

/// A device of one image in memory.
struct Memory(crate::sync::SpinLock<Vec<u8>>, bool);

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        self.0.lock().len() as u64
    }

    fn read_only(&self) -> bool {
        !self.1
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let bytes = self.0.lock();
        let from = usize::try_from(offset).map_err(|_| Errno::EIO)?;
        buf.copy_from_slice(bytes.get(from..from.saturating_add(buf.len())).ok_or(Errno::EIO)?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        assert!(self.1, "a write to a device that is read-only");
        let mut bytes = self.0.lock();
        bytes[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn blocks_of(core: &mut volume::Core, ino: u32) -> Vec<u64> {
    let extents = core.file(ino).unwrap().extents.all().to_vec();
    extents.iter().flat_map(|e| (0..u64::from(e.len)).map(|i| e.physical + i)).collect()
}

/// An image with something of everything, its journal not empty, and where that lies.
fn sample(name: &str, options: &[&str]) -> (Vec<u8>, usize, Vec<Structure>) {
    let image = Image::new(name, "12M", options);
    let fs = image.mount();
    let root: Dir = fs.root();
    let (d, large) = (mkdir(&root, "d"), mkdir(&root, "large"));
    for i in 0..20 {
        let f = make(&d, &format!("file-{i}"));
        write(&f, 0, &[i as u8; 5000]).unwrap();
        f.set_xattr(b"user.x", &[1; 300], XattrMode::Set).unwrap();
    }
    let sieve = make(&root, "sieve");
    for i in 0..900u64 {
        write(&sieve, i * 8192, &[i as u8; 10]).unwrap();
    }
    // Long names: 1 KB blocks get a second level of tables.
    for i in 0..600 {
        large.link(format!("{i}-{}", "n".repeat(200)).as_bytes(), &sieve).unwrap();
    }
    root.create(b"link", &new(NewKind::Symlink(&[b'l'; 200]))).unwrap();
    fs.sync().unwrap();
    write(&make(&d, "last"), 0, &[9; 3000]).unwrap();
    d.unlink(b"file-19").unwrap();
    fs.sync().unwrap();
    let ino = |dir: &Dir, name: &str| dir.lookup(name.as_bytes()).unwrap().id().ino as u32;
    let inodes = [ino(&root, "sieve"), ino(&d, "file-3"), ino(&root, "large"), ino(&root, "d"), ino(&root, "link")];
    let mut core = fs.volume.core.lock();
    let core_ref = &mut *core;
    let first = core_ref.sb.place().0;
    let group = core_ref.groups[0].clone();
    let table: Vec<u64> = inodes.iter().map(|&i| core_ref.inode_place(i).unwrap().0).collect();
    let nodes: Vec<u64> = core_ref.file(inodes[0]).unwrap().tree.concat();
    let xattrs: Vec<u64> = [core_ref.file(inodes[1]).unwrap().inode.xattr_block].into();
    let directory = blocks_of(core_ref, inodes[2]);
    let journal = core_ref.sb.journal_inode;
    let log = if journal == 0 { Vec::new() } else { blocks_of(core_ref, journal) };
    let mut all: Vec<Structure> = [
        ("superblock", [first].into()),
        ("descriptors", [u64::from(core_ref.sb.first_data_block) + 1].into()),
        ("block bitmap", [group.block_bitmap].into()),
        ("inode bitmap", [group.inode_bitmap].into()),
        ("inodes", table),
        ("extent nodes", nodes),
        ("directory", blocks_of(core_ref, inodes[3])),
        ("hash tree's root", [directory[0]].into()),
        ("hash tree's nodes and leaves", directory[1..].to_vec()),
        ("attributes", xattrs),
        ("link", blocks_of(core_ref, inodes[4])),
    ]
    .into();
    if !log.is_empty() {
        all.push(("journal's superblock", [log[0]].into()));
        all.push(("log", log[1..60].to_vec()));
    }
    let block_size = core_ref.sb.block_size;
    drop(core);
    vanish(fs);
    (std::fs::read(&image.0).unwrap(), block_size, all)
}

/// Whatever a program does with a tree.
fn use_it(fs: &Arc<Ext4>) {
    let root: Dir = fs.root();
    let each = |dir: &Dir| {
        let file = open(dir, OpenFlags::empty());
        let mut found = Vec::new();
        let _ = file.ops().read_dir(&file, 2, &mut |e| {
            found.push(e.name.to_vec());
            found.len() < 2000
        });
        found
    };
    for path in [&b"d"[..], b"large"] {
        let Ok(dir) = root.lookup(path) else { continue };
        for (i, name) in each(&dir).iter().take(40).enumerate() {
            let Ok(f) = dir.lookup(name) else { continue };
            let file = open(&f, OpenFlags::RDWR);
            let mut buf = [0; 9000];
            let _ = file.ops().read(&file, &mut IovDest::kernel(&mut buf), Some(0));
            let _ = f.get_xattr(b"user.x");
            let _ = f.set_xattr(b"user.y", &[2; 100], XattrMode::Set);
            let _ = file.ops().write(&file, &mut IovSource::kernel(&[1; 9000]), Some(1000));
            let _ = f.set_attributes(&SetAttributes { size: Some(3000), ..Default::default() });
            if i % 3 == 0 {
                let _ = dir.unlink(name);
            }
        }
        for i in 0..40 {
            let _ = dir.create(format!("new-{i}").as_bytes(), &new(NewKind::Directory));
            let _ =
                dir.rename(format!("new-{i}").as_bytes(), &root, format!("moved-{i}").as_bytes(), RenameMode::Replace);
        }
    }
    if let Ok(link) = root.lookup(b"link") {
        let _ = link.read_link();
    }
    if let Ok(sieve) = root.lookup(b"sieve") {
        let _ = sieve.fallocate(FallocateMode::PunchHole, 5000, 700_000);
        let _ = sieve.set_attributes(&SetAttributes { size: Some(100), ..Default::default() });
    }
    let _ = fs.sync();
    let _ = fs.shut_down();
}

fn mount_bytes(bytes: Vec<u8>, writable: bool) {
    let device = Arc::new(Memory(crate::sync::SpinLock::new(crate::sync::Rank::BlockDevice, bytes), writable));
    let disk = Disk { name: "bad".into(), number: DeviceNumber::anonymous(), device };
    if let Ok(fs) = mount::open(&disk, writable) {
        use_it(&fs);
    }
}

/// The superblock's own sum is made right again, or nothing would be looked at behind it.
fn seal_superblock(bytes: &mut [u8]) {
    let raw = &mut bytes[1024..2048];
    if u32::from_le_bytes(raw[100..104].try_into().unwrap()) & 0x400 != 0 {
        let sum = crate::fs::ext4::checksum::crc32c(!0, &raw[..0x3fc]);
        raw[0x3fc..].copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn every_structure_damaged() {
    for (n, options) in [
        &["-b", "1024", "-N", "256", "-O", "^metadata_csum"][..],
        &["-b", "4096", "-N", "256", "-O", "^metadata_csum"],
        &["-b", "1024", "-N", "256", "-O", "^metadata_csum,^has_journal"],
        &["-b", "1024", "-N", "256"],
    ]
    .iter()
    .enumerate()
    {
        let (clean, block_size, structures) = sample(&format!("structures-{n}"), options);
        assert!(Superblock::parse(&clean[1024..2048]).is_ok());
        let mut random = Random(7 + n as u64);
        for (name, blocks) in &structures {
            assert!(!blocks.is_empty() && (*name == "superblock" || !blocks.contains(&0)), "{name}: {blocks:?}");
            for round in 0..16u64 {
                let mut bytes = clean.clone();
                for _ in 0..=random.next(3) {
                    let at = blocks[random.next(blocks.len() as u64) as usize] as usize * block_size;
                    let at = if *name == "superblock" { 1024 } else { at };
                    let len = if *name == "superblock" { 1024 } else { block_size };
                    // Where a structure begins is where most of its meaning is.
                    let reach = if round % 2 == 0 { len } else { len.min(96) };
                    match round % 4 {
                        0 | 1 => bytes[at + random.next(reach as u64) as usize] ^= 1 << random.next(8),
                        2 => {
                            let word = at + random.next(reach as u64 / 4) as usize * 4;
                            let value =
                                [0, u32::MAX, 0x7fff_ffff, random.next(1 << 31) as u32][random.next(4) as usize];
                            bytes[word..word + 4].copy_from_slice(&value.to_le_bytes());
                        }
                        _ => bytes[at..at + reach].fill_with(|| random.next(256) as u8),
                    }
                }
                if *name == "superblock" && round % 4 != 3 {
                    seal_superblock(&mut bytes);
                }
                mount_bytes(bytes.clone(), false);
                mount_bytes(bytes, true);
            }
        }
    }
}

#[test]
fn images_cut_short() {
    let (clean, ..) = sample("cut", &["-b", "1024", "-N", "256", "-O", "^metadata_csum"]);
    let mut random = Random(3);
    for len in
        [0, 1, 1023, 1024, 1500, 2047, 2048, 4096].into_iter().chain((0..20).map(|_| random.next(12 << 20) as usize))
    {
        for writable in [false, true] {
            mount_bytes(clean[..len].to_vec(), writable);
        }
    }
}
