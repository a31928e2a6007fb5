//! The kernel heap as this program's allocator: small blocks from the size classes, large ones from the host.

use criterion::{Criterion, criterion_group, criterion_main};
use kernel::mm::alloc::KernelHeap;
use std::hint::black_box;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap::new();

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel_heap");
    for (name, size) in [("64 B", 64), ("2 KB", 2 << 10), ("64 KB", 64 << 10), ("1 MB", 1 << 20)] {
        group.bench_function(format!("allocate and free {name}"), |b| {
            b.iter(|| drop(black_box(Vec::<u8>::with_capacity(black_box(size)))));
        });
    }
    // Freed blocks go back to their class: the second round finds what the first one left.
    group.bench_function("1000 blocks of 128 B, then all freed", |b| {
        b.iter(|| drop(black_box((0..1000).map(|_| Vec::<u8>::with_capacity(128)).collect::<Vec<_>>())));
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
