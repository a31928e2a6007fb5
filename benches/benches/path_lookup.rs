//! Path names resolved over a tmpfs: what open(2) and stat(2) pay before they come to the file.

use criterion::{Criterion, criterion_group, criterion_main};
use kernel::fs::file::OpenFlags;
use kernel::fs::mount::{Mount, MountFlags};
use kernel::fs::tmpfs::TmpFs;
use kernel::fs::{Actor, FsContext, Path, Resolve};
use kernel::task::Credentials;
use std::hint::black_box;
use std::sync::Arc;

fn lookups(c: &mut Criterion) {
    let mount = Mount::unattached(TmpFs::new("tmpfs", 1 << 20, 0o755), "tmpfs", MountFlags::empty());
    let root = Path::mount_root(&mount);
    let actor = Actor { fs: Arc::new(FsContext::at(root.clone(), root, 0o022)), who: Arc::new(Credentials::root()) };
    for dir in ["/usr", "/usr/lib", "/usr/lib/x86_64-linux-gnu"] {
        actor.mkdir(None, dir.as_bytes(), 0o755).expect("the directory is new");
    }
    let name = b"/usr/lib/x86_64-linux-gnu/libc.so.6";
    let made = actor.open(None, name, OpenFlags::CREAT | OpenFlags::RDWR, 0o644, Resolve::empty());
    drop(made.expect("the file is new"));
    let missing = b"/usr/lib/x86_64-linux-gnu/libm.so.6";
    assert!(actor.resolve(None, name, Resolve::empty()).is_ok());
    assert!(actor.resolve(None, missing, Resolve::empty()).is_err());

    let mut group = c.benchmark_group("path_lookup");
    group.bench_function("four components", |b| {
        b.iter(|| actor.resolve(None, black_box(name), Resolve::empty()).is_ok())
    });
    group.bench_function("a name that is not there", |b| {
        b.iter(|| actor.resolve(None, black_box(missing), Resolve::empty()).is_err());
    });
    group.bench_function("open and close", |b| {
        b.iter(|| actor.open(None, black_box(name), OpenFlags::RDWR, 0, Resolve::empty()).is_ok());
    });
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
