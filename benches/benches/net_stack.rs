//! The TCP/IP stack, both ends, over a link in memory: what a large segment costs, and what a packet costs when it
//! belongs to one of many flows.

use benches::link::Link;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SEGMENT: usize = 64 * 1024;
const FLOWS: usize = 1000;
const MESSAGE: usize = 512;

/// One connection: 64 KB at a time from the sender's buffer to the receiver's, acknowledgements included.
fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("net_stack");
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    group.bench_function("bulk 64 KB", |b| {
        let mut link = Link::default();
        let connection = link.connections(1, 512 * 1024)[0];
        let data = vec![0x5a; SEGMENT];
        let mut into = vec![0; SEGMENT];
        b.iter(|| link.transfer(connection, &data, &mut into));
    });
    group.finish();
}

/// A message on each of 1,000 connections: an element is one message, one data packet and its share of acknowledgements.
fn many_flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("net_stack");
    group.throughput(Throughput::Elements(FLOWS as u64));
    group.bench_function("a message on each of 1000 flows", |b| {
        let mut link = Link::default();
        let connections = link.connections(FLOWS, 32 * 1024);
        let data = [0x5a; MESSAGE];
        let mut into = [0; MESSAGE];
        b.iter(|| {
            for &(client, server) in &connections {
                assert_eq!(link.send(client, &data), MESSAGE);
                link.exchange();
                assert_eq!(link.receive(server, &mut into), MESSAGE);
            }
        });
    });
    group.finish();
}

/// A byte there and a byte back, one transaction at a time.
fn request_and_response(c: &mut Criterion) {
    c.bench_function("net_stack/request and response", |b| {
        let mut link = Link::default();
        let connection = link.connections(1, 128 * 1024)[0];
        b.iter(|| link.request_and_response(connection));
    });
}

/// Connections made, each from SYN to accept.
fn connect(c: &mut Criterion) {
    c.bench_function("net_stack/connect and accept", |b| {
        b.iter_batched_ref(Link::default, |link| link.connections(1, 32 * 1024), BatchSize::SmallInput);
    });
}

criterion_group!(benches, bulk, many_flows, request_and_response, connect);
criterion_main!(benches);
