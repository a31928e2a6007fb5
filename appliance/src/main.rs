//! `appliance`: wires taps and namespaces around `vmlinux`, runs programs in the guest and measures.

fn main() {}
