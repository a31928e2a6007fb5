//! Kernel entry and exit: the only code that runs between the guest and the kernel's Rust.
//!
//! Entry points
//! - `flatland_syscall_entry`: as the `syscall` instruction leaves the registers (rcx = return address, r11 = flags), on
//!   the guest's stack. The SIGSYS handler resumes here.
//! - `flatland_patched_entry`: the same, from the stub of a patched site: the flags are still in the flags register.
//! - `flatland_cpuid_entry`: the stub of a patched `cpuid`; rdx has the return address, and all but what `cpuid` writes is kept.
//! - `flatland_trap_entry`: a fault or an interruption in guest code. The signal handler has filled in the general
//!   registers of the frame and resumes here with rsp at the frame.
//! - `flatland_thread_start`: first run of a thread, from the context switch, with rsp at the frame.
//!
//! All of them find or leave a [`TrapFrame`] at the top of the thread's kernel stack, with the guest's vector registers
//! live but for the low 128 bits of xmm0–15, which the frame holds: kernel code is baseline SSE2 and changes nothing
//! else of them.
//!
//! The way out looks for pending work for the last time inside the exit window. A host signal inside the window only
//! sets a pending bit and moves the saved instruction pointer to `flatland_exit_restart`: nothing in the frame has been
//! destroyed by then, so the exit starts over and sees the bit.

use super::frame::{FRAME_SIZE, TrapFrame};
use super::vcpu::offsets;
use core::arch::global_asm;
use core::mem::offset_of;

global_asm!(
    ".text",
    ".macro FLATLAND_SAVE_VECTORS",
    "movaps [rsp], xmm0",
    "movaps [rsp+16], xmm1",
    "movaps [rsp+32], xmm2",
    "movaps [rsp+48], xmm3",
    "movaps [rsp+64], xmm4",
    "movaps [rsp+80], xmm5",
    "movaps [rsp+96], xmm6",
    "movaps [rsp+112], xmm7",
    "movaps [rsp+128], xmm8",
    "movaps [rsp+144], xmm9",
    "movaps [rsp+160], xmm10",
    "movaps [rsp+176], xmm11",
    "movaps [rsp+192], xmm12",
    "movaps [rsp+208], xmm13",
    "movaps [rsp+224], xmm14",
    "movaps [rsp+240], xmm15",
    ".endm",
    ".macro FLATLAND_HOST_FS",
    "rdfsbase rax",
    "mov [rsp+{fs_base}], rax",
    "mov rax, gs:[{host_fs}]",
    "wrfsbase rax",
    "cld",
    ".endm",
    // What stands below `full` in a frame, from the register of `fs_base`'s neighbour down to xmm0; then the host's FS.
    ".macro FLATLAND_SAVE_REGISTERS",
    "push 0",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 256",
    "FLATLAND_SAVE_VECTORS",
    "FLATLAND_HOST_FS",
    ".endm",
    // ---------------------------------------------------------------- system call
    ".p2align 6",
    ".globl flatland_syscall_entry",
    "flatland_syscall_entry:",
    "mov gs:[{scratch}], rsp",
    "mov rsp, gs:[{frame_top}]",
    "push 0x2b",
    "push qword ptr gs:[{scratch}]",
    "push r11",
    "push 0x33",
    "push rcx",
    "push 1",
    "4: push 0",
    "push rax",
    "FLATLAND_SAVE_REGISTERS",
    "mov rdi, rsp",
    "call {syscall}",
    "jmp flatland_exit_to_user",
    ".p2align 6",
    ".globl flatland_patched_entry",
    "flatland_patched_entry:",
    "mov gs:[{scratch}], rsp",
    "mov rsp, gs:[{frame_top}]",
    "push 0x2b",
    "push qword ptr gs:[{scratch}]",
    "pushfq",
    "mov r11, [rsp]",
    "push 0x33",
    "push rcx",
    "push 0",
    "jmp 4b",
    ".globl flatland_patched_entry_end",
    "flatland_patched_entry_end:",
    // ---------------------------------------------------------------- cpuid
    ".p2align 6",
    ".globl flatland_cpuid_entry",
    "flatland_cpuid_entry:",
    "mov gs:[{scratch}], rsp",
    "mov rsp, gs:[{frame_top}]",
    "push 0x2b",
    "push qword ptr gs:[{scratch}]",
    "pushfq",
    "push 0x33",
    "push rdx",
    "push 0",
    "push 1",
    "push -1",
    "FLATLAND_SAVE_REGISTERS",
    "mov rdi, rsp",
    "call {cpuid}",
    "jmp flatland_exit_to_user",
    ".globl flatland_cpuid_entry_end",
    "flatland_cpuid_entry_end:",
    // ---------------------------------------------------------------- trap
    ".p2align 4",
    ".globl flatland_trap_entry",
    "flatland_trap_entry:",
    "FLATLAND_SAVE_VECTORS",
    "FLATLAND_HOST_FS",
    "mov rdi, rsp",
    "call {trap}",
    "jmp flatland_exit_to_user",
    // A fault of the exit's last instructions: the frame is already complete, vectors and all.
    ".p2align 4",
    ".globl flatland_trap_return",
    "flatland_trap_return:",
    "mov rax, gs:[{host_fs}]",
    "wrfsbase rax",
    "cld",
    "mov rdi, rsp",
    "call {trap}",
    "jmp flatland_exit_to_user",
    // ---------------------------------------------------------------- first run of a thread
    ".p2align 4",
    ".globl flatland_thread_start",
    "flatland_thread_start:",
    "call {thread_started}",
    "jmp flatland_exit_to_user",
    // ---------------------------------------------------------------- exit
    ".p2align 4",
    ".globl flatland_exit_restart",
    "flatland_exit_restart:",
    "mov rsp, gs:[{frame_top}]",
    "sub rsp, {frame_size}",
    "mov rax, gs:[{host_fs}]",
    "wrfsbase rax",
    "3: mov rdi, rsp",
    "call {prepare_exit}",
    ".globl flatland_exit_window_start",
    "flatland_exit_window_start:",
    "flatland_exit_to_user:",
    "cmp dword ptr gs:[{pending}], 0",
    "jne 3b",
    "mov rax, [rsp+{fs_base}]",
    "wrfsbase rax",
    "movaps xmm0, [rsp]",
    "movaps xmm1, [rsp+16]",
    "movaps xmm2, [rsp+32]",
    "movaps xmm3, [rsp+48]",
    "movaps xmm4, [rsp+64]",
    "movaps xmm5, [rsp+80]",
    "movaps xmm6, [rsp+96]",
    "movaps xmm7, [rsp+112]",
    "movaps xmm8, [rsp+128]",
    "movaps xmm9, [rsp+144]",
    "movaps xmm10, [rsp+160]",
    "movaps xmm11, [rsp+176]",
    "movaps xmm12, [rsp+192]",
    "movaps xmm13, [rsp+208]",
    "movaps xmm14, [rsp+224]",
    "movaps xmm15, [rsp+240]",
    "mov r15, [rsp+{r15}]",
    "mov r14, [rsp+{r14}]",
    "mov r13, [rsp+{r13}]",
    "mov r12, [rsp+{r12}]",
    "mov rbp, [rsp+{rbp}]",
    "mov rbx, [rsp+{rbx}]",
    "mov r10, [rsp+{r10}]",
    "mov r9, [rsp+{r9}]",
    "mov r8, [rsp+{r8}]",
    "mov rdx, [rsp+{rdx}]",
    "mov rsi, [rsp+{rsi}]",
    "mov rdi, [rsp+{rdi}]",
    "mov rax, [rsp+{rax}]",
    "cmp qword ptr [rsp+{full}], 0",
    "jne 2f",
    "cmp dword ptr gs:[{own_gs}], 0",
    "jne 5f",
    "push qword ptr [rsp+{rflags}]",
    "popfq",
    "mov rcx, [rsp+{rip}]",
    "mov r11, [rsp+{rflags}]",
    "mov rsp, [rsp+{user_rsp}]",
    "jmp rcx",
    // A context with a GS base of its own: GS is not the vCPU's from here on. Handlers cope with that.
    "5: mov rcx, gs:[{guest_gs}]",
    "wrgsbase rcx",
    "jmp 6f",
    "2: cmp dword ptr gs:[{own_gs}], 0",
    "jne 5b",
    "6: mov r11, [rsp+{r11}]",
    "mov rcx, [rsp+{rcx}]",
    "lea rsp, [rsp+{rip}]",
    "iretq",
    ".globl flatland_exit_window_end",
    "flatland_exit_window_end:",
    // ---------------------------------------------------------------- context switch
    ".p2align 4",
    ".globl flatland_switch_stacks",
    "flatland_switch_stacks:", // rdi = where to save rsp, rsi = rsp to load
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "mov rsp, rsi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // ---------------------------------------------------------------- host signal return
    ".p2align 4",
    ".globl flatland_sigreturn",
    "flatland_sigreturn:",
    "mov eax, 15",
    "syscall",
    "ud2",
    syscall = sym super::hooks::flatland_syscall,
    cpuid = sym super::hooks::flatland_cpuid,
    trap = sym super::hooks::flatland_trap,
    thread_started = sym super::hooks::flatland_thread_started,
    prepare_exit = sym super::hooks::flatland_prepare_exit,
    frame_size = const FRAME_SIZE,
    scratch = const offsets::SCRATCH,
    frame_top = const offsets::FRAME_TOP,
    host_fs = const offsets::HOST_FS,
    pending = const offsets::PENDING,
    own_gs = const offsets::OWN_GS,
    guest_gs = const offsets::GUEST_GS,
    fs_base = const offset_of!(TrapFrame, fs_base),
    full = const offset_of!(TrapFrame, full),
    rip = const offset_of!(TrapFrame, rip),
    rflags = const offset_of!(TrapFrame, rflags),
    user_rsp = const offset_of!(TrapFrame, rsp),
    rax = const offset_of!(TrapFrame, rax),
    rbx = const offset_of!(TrapFrame, rbx),
    rcx = const offset_of!(TrapFrame, rcx),
    rdx = const offset_of!(TrapFrame, rdx),
    rsi = const offset_of!(TrapFrame, rsi),
    rdi = const offset_of!(TrapFrame, rdi),
    rbp = const offset_of!(TrapFrame, rbp),
    r8 = const offset_of!(TrapFrame, r8),
    r9 = const offset_of!(TrapFrame, r9),
    r10 = const offset_of!(TrapFrame, r10),
    r11 = const offset_of!(TrapFrame, r11),
    r12 = const offset_of!(TrapFrame, r12),
    r13 = const offset_of!(TrapFrame, r13),
    r14 = const offset_of!(TrapFrame, r14),
    r15 = const offset_of!(TrapFrame, r15),
);

macro_rules! labels {
    ($($(#[$doc:meta])* $f:ident = $label:ident;)*) => {
        unsafe extern "C" {
            $(safe fn $label();)*
        }
        $(
            $(#[$doc])*
            pub fn $f() -> u64 {
                $label as *const () as u64
            }
        )*
    };
}

labels! {
    /// Where a system call enters.
    syscall_entry = flatland_syscall_entry;
    /// Where the stub of a patched site enters.
    patched_entry = flatland_patched_entry;
    /// End of that entry's own instructions.
    patched_entry_end = flatland_patched_entry_end;
    /// Where the stub of a patched `cpuid` enters.
    cpuid_entry = flatland_cpuid_entry;
    /// End of that entry's own instructions.
    cpuid_entry_end = flatland_cpuid_entry_end;
    /// Where a fault or interruption of guest code enters.
    trap_entry = flatland_trap_entry;
    /// Where a fault of the exit itself goes: the frame still holds everything.
    trap_return = flatland_trap_return;
    /// Where a new thread starts.
    thread_start = flatland_thread_start;
    /// Where an interrupted exit starts over.
    exit_restart = flatland_exit_restart;
    /// First instruction of the exit window.
    exit_window_start = flatland_exit_window_start;
    /// End of the exit window.
    exit_window_end = flatland_exit_window_end;
    /// The host's signal trampoline.
    sigreturn = flatland_sigreturn;
}

unsafe extern "C" {
    /// Saves the callee-saved registers and rsp at `save`, then loads those at `load`.
    pub(super) fn flatland_switch_stacks(save: *mut u64, load: u64);
}
