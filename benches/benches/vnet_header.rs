//! `struct virtio_net_hdr`: what the offload state of a frame costs on its way out and in.

use criterion::{Criterion, criterion_group, criterion_main};
use netdrv::{Checksum, FrameMeta, Gso, GsoKind, vnet_header};
use std::hint::black_box;
use std::num::NonZeroU16;

fn headers(c: &mut Criterion) {
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    let size = NonZeroU16::new(1448).expect("not zero");
    let segment = FrameMeta { checksum, gso: Some(Gso { kind: GsoKind::TcpV4, size, header_len: 66, ecn: false }) };
    let mut frame = vec![0u8; 65_226];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[23] = 6;
    // TCP's data offset: 32 bytes of header.
    frame[46] = 0x80;
    let header = vnet_header::encode(&segment, frame.len()).expect("the header fits the frame");
    assert_eq!(vnet_header::decode(&header, &frame), Ok(segment));

    let mut group = c.benchmark_group("vnet_header");
    group.bench_function("encode 64 KB segment", |b| b.iter(|| vnet_header::encode(black_box(&segment), frame.len())));
    let plain = FrameMeta::default();
    group.bench_function("encode plain frame", |b| b.iter(|| vnet_header::encode(black_box(&plain), 1514)));
    group.bench_function("decode 64 KB segment", |b| b.iter(|| vnet_header::decode(black_box(&header), &frame)));
    group.finish();
}

criterion_group!(benches, headers);
criterion_main!(benches);
