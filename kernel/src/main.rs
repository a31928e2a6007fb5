//! `vmlinux`: a Linux machine in one host process.

fn main() {}
