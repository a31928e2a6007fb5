//! The guest's vDSO as bytes: code that reads the clock without a system call, and the page of parameters it reads.
//!
//! The code below is assembled into vmlinux's text, but only ever run from a copy in guest memory: it is position
//! independent and finds its data page 4096 bytes below the page it starts in. `time::vdso` wraps the copy in an ELF
//! image. The parameters change under a sequence lock: odd while they change.

use super::fd::HostFd;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

global_asm!(
    ".section .rodata.flatland_vdso, \"a\", @progbits",
    ".p2align 12",
    ".globl flatland_vdso_code",
    "flatland_vdso_code:",
    ".set vdata, flatland_vdso_code - 8192",
    // ---- clock_gettime(edi = clock, rsi = timespec)
    ".p2align 4",
    ".globl flatland_vdso_clock_gettime",
    "flatland_vdso_clock_gettime:",
    "cmp edi, 8",
    "jae 9f",
    // Clocks 0 (realtime) 1 (monotonic) 4 (raw: as monotonic) 5, 6 (coarse) 7 (boottime).
    "mov eax, 0xf3",
    "bt eax, edi",
    "jnc 9f",
    "2: mov r8d, [rip + vdata]",
    "test r8d, 1",
    "jnz 7f",
    "cmp dword ptr [rip + vdata + 4], 0",
    "je 9f",
    "lfence",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "sub rax, [rip + vdata + 8]",
    "jae 3f",
    "xor eax, eax",
    "3: mul qword ptr [rip + vdata + 16]",
    "mov ecx, [rip + vdata + 24]",
    "shrd rax, rdx, cl",
    "add rax, [rip + vdata + 32]", // monotonic nanoseconds
    "mov r9, 0x21",                // clocks 0 and 5 follow the wall clock
    "bt r9, rdi",
    "jnc 4f",
    "add rax, [rip + vdata + 40]",
    "4: cmp edi, 7",
    "jne 5f",
    "add rax, [rip + vdata + 48]",
    "5: cmp r8d, [rip + vdata]",
    "jne 2b",
    "xor edx, edx",
    "mov ecx, 1000000000",
    "div rcx",
    "mov [rsi], rax",
    "mov [rsi + 8], rdx",
    "xor eax, eax",
    "ret",
    "7: pause",
    "jmp 2b",
    "9: mov eax, 228",
    "syscall",
    "ret",
    // ---- gettimeofday(rdi = timeval, rsi = timezone)
    ".p2align 4",
    ".globl flatland_vdso_gettimeofday",
    "flatland_vdso_gettimeofday:",
    "test rsi, rsi",
    "jnz 9f",
    "test rdi, rdi",
    "jz 8f",
    "push rdi",
    "sub rsp, 16",
    "xor edi, edi",
    "mov rsi, rsp",
    "call flatland_vdso_clock_gettime",
    "mov r8, [rsp]",
    "mov rax, [rsp + 8]",
    "add rsp, 16",
    "pop rdi",
    "xor edx, edx",
    "mov ecx, 1000",
    "div rcx",
    "mov [rdi], r8",
    "mov [rdi + 8], rax",
    "8: xor eax, eax",
    "ret",
    "9: mov eax, 96",
    "syscall",
    "ret",
    // ---- time(rdi = time_t or NULL)
    ".p2align 4",
    ".globl flatland_vdso_time",
    "flatland_vdso_time:",
    "push rdi",
    "sub rsp, 16",
    "xor edi, edi",
    "mov rsi, rsp",
    "call flatland_vdso_clock_gettime",
    "mov rax, [rsp]",
    "add rsp, 16",
    "pop rdi",
    "test rdi, rdi",
    "jz 8f",
    "mov [rdi], rax",
    "8: ret",
    // ---- getcpu(rdi = cpu, rsi = node): there is one vCPU
    ".p2align 4",
    ".globl flatland_vdso_getcpu",
    "flatland_vdso_getcpu:",
    "test rdi, rdi",
    "jz 2f",
    "mov dword ptr [rdi], 0",
    "2: test rsi, rsi",
    "jz 3f",
    "mov dword ptr [rsi], 0",
    "3: xor eax, eax",
    "ret",
    ".globl flatland_vdso_end",
    "flatland_vdso_end:",
    ".text",
);

unsafe extern "C" {
    static flatland_vdso_code: u8;
    static flatland_vdso_clock_gettime: u8;
    static flatland_vdso_gettimeofday: u8;
    static flatland_vdso_time: u8;
    static flatland_vdso_getcpu: u8;
    static flatland_vdso_end: u8;
}

/// The code and where its functions start, from the start of the code.
pub struct Code {
    /// The bytes.
    pub bytes: &'static [u8],
    /// Names and offsets of the functions.
    pub functions: [(&'static str, usize); 4],
}

/// Distance from the data page to the code: the data page, and a page of ELF headers between them.
pub const CODE_DISTANCE: usize = 2 * PAGE_SIZE;

/// The vDSO's code.
pub fn code() -> Code {
    let (start, end) = (&raw const flatland_vdso_code as usize, &raw const flatland_vdso_end as usize);
    let offset = |p: *const u8| p as usize - start;
    Code {
        // SAFETY: the labels enclose read-only data of this binary.
        bytes: unsafe { core::slice::from_raw_parts(start as *const u8, end - start) },
        functions: [
            ("clock_gettime", offset(&raw const flatland_vdso_clock_gettime)),
            ("gettimeofday", offset(&raw const flatland_vdso_gettimeofday)),
            ("time", offset(&raw const flatland_vdso_time)),
            ("getcpu", offset(&raw const flatland_vdso_getcpu)),
        ],
    }
}

/// The parameters, as the code reads them: the offsets are in its instructions.
#[repr(C)]
struct Data {
    /// Odd while the others change.
    sequence: AtomicU32,
    /// 0: the host's clock is not the time stamp counter; make a system call.
    usable: AtomicU32,
    tsc_base: AtomicU64,
    multiplier: AtomicU64,
    shift: AtomicU64,
    monotonic_base: AtomicU64,
    realtime_offset: AtomicU64,
    boottime_offset: AtomicU64,
}

/// Clock parameters: nanoseconds = (tsc − `tsc_base`) × `multiplier` >> `shift` + `monotonic_base`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Parameters {
    pub tsc_base: u64,
    pub multiplier: u64,
    pub shift: u32,
    pub monotonic_base: u64,
    pub realtime_offset: u64,
    pub boottime_offset: u64,
}

/// The host memory file that holds data page and image, and the kernel's view of the data page.
pub struct Image {
    file: alloc::sync::Arc<HostFd>,
    data: &'static Data,
    len: usize,
}

impl Image {
    /// Makes the file: a data page, then `elf` (headers page and code).
    pub fn new(elf: &[u8]) -> Result<Self> {
        let len = (PAGE_SIZE + elf.len()).next_multiple_of(PAGE_SIZE);
        let fd = memfd_create("flatland-vdso", MemfdFlags::CLOEXEC).map_err(|_| Errno::ENOMEM)?;
        ftruncate(&fd, len as u64).map_err(|_| Errno::ENOMEM)?;
        let mut done = 0;
        while done < elf.len() {
            done += rustix::io::pwrite(&fd, &elf[done..], (PAGE_SIZE + done) as u64).map_err(|_| Errno::ENOMEM)?;
        }
        // SAFETY: a fresh mapping of our own file at an address of the host's choice; it is never unmapped.
        let data = unsafe {
            mmap(ptr::null_mut(), PAGE_SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)
                .map_err(|_| Errno::ENOMEM)?
                .cast::<Data>()
                .as_ref()
        }
        .ok_or(Errno::ENOMEM)?;
        Ok(Image { file: alloc::sync::Arc::new(HostFd::from(fd)), data, len })
    }

    /// The file to map: data page first.
    pub fn file(&self) -> alloc::sync::Arc<HostFd> {
        self.file.clone()
    }

    /// Bytes of data page and image.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes (it always has).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Publishes new parameters; `None` makes the code fall back to system calls.
    pub fn publish(&self, parameters: Option<Parameters>) {
        let d = self.data;
        let sequence = d.sequence.load(Ordering::Relaxed);
        d.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        d.usable.store(u32::from(parameters.is_some()), Ordering::Relaxed);
        if let Some(p) = parameters {
            d.tsc_base.store(p.tsc_base, Ordering::Relaxed);
            d.multiplier.store(p.multiplier, Ordering::Relaxed);
            d.shift.store(u64::from(p.shift), Ordering::Relaxed);
            d.monotonic_base.store(p.monotonic_base, Ordering::Relaxed);
            d.realtime_offset.store(p.realtime_offset, Ordering::Relaxed);
            d.boottime_offset.store(p.boottime_offset, Ordering::Relaxed);
        }
        d.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}
