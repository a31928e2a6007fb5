//! The registers of a guest context, as the entry code leaves them at the top of the thread's kernel stack.

use crate::abi::SigContext;

/// Guest registers at kernel entry. The assembly in `entry` knows this layout by the offsets below; the tail, from
/// `rip` on, is what `iretq` pops.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct TrapFrame {
    /// The low 128 bits of xmm0–15: the kernel is baseline SSE2 code and changes nothing above them.
    pub xmm: [u128; 16],
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The guest's FS base (its thread pointer).
    pub fs_base: u64,
    /// The system call number that brought us here, or -1 if none did.
    pub orig_rax: u64,
    /// Nonzero if every register must be restored as it stands (by `iretq`); zero if rcx and r11 may be lost, as the
    /// `syscall` instruction loses them.
    pub full: u64,
    /// For a system call: nonzero if the instruction trapped, zero if its patched site jumped here.
    pub trapped: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Bytes in a [`TrapFrame`].
pub const FRAME_SIZE: usize = size_of::<TrapFrame>();

/// The code segment selector of 64-bit user code on Linux.
pub const USER_CS: u64 = 0x33;
/// The stack segment selector of user code on Linux.
pub const USER_SS: u64 = 0x2b;

/// EFLAGS: carry (an example of what a program may set freely).
pub const FLAG_TF: u64 = 1 << 8;
/// EFLAGS: interrupts enabled; always set in user mode.
pub const FLAG_IF: u64 = 1 << 9;
/// EFLAGS: direction.
pub const FLAG_DF: u64 = 1 << 10;
/// EFLAGS: resume.
pub const FLAG_RF: u64 = 1 << 16;
/// EFLAGS: alignment check.
pub const FLAG_AC: u64 = 1 << 18;
/// The flags that a signal handler may change through its ucontext (`FIX_EFLAGS` of Linux).
pub const FLAGS_SETTABLE: u64 = 0x0005_0dd5;

impl TrapFrame {
    /// A context that starts at `entry` with the stack at `sp` and everything else zero, as execve(2) leaves it.
    pub const fn start(entry: u64, sp: u64) -> Self {
        TrapFrame {
            xmm: [0; 16],
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbp: 0,
            rbx: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rax: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            fs_base: 0,
            orig_rax: u64::MAX,
            full: 1,
            trapped: 0,
            rip: entry,
            cs: USER_CS,
            rflags: FLAG_IF | 2,
            rsp: sp,
            ss: USER_SS,
        }
    }

    /// Takes the general registers and the place of execution from a signal frame; not the flags.
    pub fn load_registers(&mut self, cx: &SigContext) {
        self.r8 = cx.r8;
        self.r9 = cx.r9;
        self.r10 = cx.r10;
        self.r11 = cx.r11;
        self.r12 = cx.r12;
        self.r13 = cx.r13;
        self.r14 = cx.r14;
        self.r15 = cx.r15;
        self.rdi = cx.rdi;
        self.rsi = cx.rsi;
        self.rbp = cx.rbp;
        self.rbx = cx.rbx;
        self.rdx = cx.rdx;
        self.rax = cx.rax;
        self.rcx = cx.rcx;
        self.rsp = cx.rsp;
        self.rip = cx.rip;
        self.cs = USER_CS;
        self.ss = USER_SS;
        self.orig_rax = u64::MAX;
        self.full = 1;
    }

    /// The registers as a signal frame has them.
    pub fn to_context(&self) -> SigContext {
        SigContext {
            r8: self.r8,
            r9: self.r9,
            r10: self.r10,
            r11: self.r11,
            r12: self.r12,
            r13: self.r13,
            r14: self.r14,
            r15: self.r15,
            rdi: self.rdi,
            rsi: self.rsi,
            rbp: self.rbp,
            rbx: self.rbx,
            rdx: self.rdx,
            rax: self.rax,
            rcx: self.rcx,
            rsp: self.rsp,
            rip: self.rip,
            eflags: self.rflags,
            cs: USER_CS as u16,
            ss: USER_SS as u16,
            ..SigContext::default()
        }
    }

    /// The six system call arguments, in order (syscall(2)).
    pub const fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }
}
