//! `vmlinux`: a Linux machine in one host process.

use kernel::mm::alloc::KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap::new();

fn main() {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    std::process::exit(kernel::boot::main(words));
}
