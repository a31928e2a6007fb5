// A system call changes rax, rcx and r11 and nothing else: rcx is the return address, r11 the flags.
// variants: raw
#include "freestanding.h"

static word before[16], after[16];
extern char after_call[] __attribute__((visibility("hidden")));

// Loads every register but rsp from a pattern, calls, stores every register.
__attribute__((noinline)) static void call_with_patterns(word number)
{
	for (int i = 0; i < 16; i++)
		before[i] = 0x1010101010101010ul * (word)(i + 1) ^ 0x8000000000000000ul;
	before[0] = number;
	asm volatile("push %%rbx\n\tpush %%rbp\n\tpush %%r12\n\tpush %%r13\n\tpush %%r14\n\tpush %%r15\n\t"
		     "lea %[before], %%rax\n\t"
		     "mov 8(%%rax), %%rbx\n\tmov 24(%%rax), %%rdx\n\tmov 32(%%rax), %%rsi\n\tmov 40(%%rax), %%rdi\n\t"
		     "mov 48(%%rax), %%rbp\n\tmov 64(%%rax), %%r8\n\tmov 72(%%rax), %%r9\n\tmov 80(%%rax), %%r10\n\t"
		     "mov 96(%%rax), %%r12\n\tmov 104(%%rax), %%r13\n\tmov 112(%%rax), %%r14\n\tmov 120(%%rax), %%r15\n\t"
		     "mov (%%rax), %%rax\n\tmov %%rsp, before_rsp(%%rip)\n\tstd\n\tcld\n\tstc\n\tsyscall\n"
		     ".globl after_call\n.hidden after_call\nafter_call:\n\t"
		     "pushfq\n\tpopq flags_after(%%rip)\n\t"
		     "mov %%rsp, after_rsp(%%rip)\n\tmov %%rax, 0+%[after]\n\tmov %%rbx, 8+%[after]\n\tmov %%rcx, 16+%[after]\n\t"
		     "mov %%rdx, 24+%[after]\n\tmov %%rsi, 32+%[after]\n\tmov %%rdi, 40+%[after]\n\tmov %%rbp, 48+%[after]\n\t"
		     "mov %%r8, 64+%[after]\n\tmov %%r9, 72+%[after]\n\tmov %%r10, 80+%[after]\n\tmov %%r11, 88+%[after]\n\t"
		     "mov %%r12, 96+%[after]\n\tmov %%r13, 104+%[after]\n\tmov %%r14, 112+%[after]\n\tmov %%r15, 120+%[after]\n\t"
		     "pop %%r15\n\tpop %%r14\n\tpop %%r13\n\tpop %%r12\n\tpop %%rbp\n\tpop %%rbx"
		     : [after] "=m"(after)
		     : [before] "m"(before)
		     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

asm(".local before_rsp\n.comm before_rsp,8,8\n.local after_rsp\n.comm after_rsp,8,8\n.local flags_after\n.comm flags_after,8,8\n"
    "get_before_rsp: mov before_rsp(%rip), %rax\n\tret\n"
    "get_after_rsp: mov after_rsp(%rip), %rax\n\tret\n"
    "get_flags: mov flags_after(%rip), %rax\n\tret\n");
word get_before_rsp(void) __attribute__((visibility("hidden")));
word get_after_rsp(void) __attribute__((visibility("hidden")));
word get_flags(void) __attribute__((visibility("hidden")));

static void look(const char *what, word number, int rounds)
{
	int kept = 1, rcx = 1, flags = 1, stack = 1, carry = 1;
	for (int round = 0; round < rounds; round++) {
		call_with_patterns(number);
		static const unsigned char preserved[] = { 1, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15 };
		for (word i = 0; i < sizeof(preserved); i++)
			kept &= before[preserved[i]] == after[preserved[i]];
		rcx &= after[2] == (word)after_call;
		flags &= (after[11] & 0xcd5) == (get_flags() & 0xcd5);
		carry &= (get_flags() & 1) == 1;
		stack &= get_before_rsp() == get_after_rsp();
	}
	say(what, number);
	check("  preserved", kept);
	check("  rcx is the return address", rcx);
	check("  r11 is the flags", flags);
	check("  carry flag kept", carry);
	check("  stack pointer kept", stack);
}

__attribute__((used, noreturn)) void entry(word *stack)
{
	(void)stack;
	look("getpid, many times", SYS_getpid, 1000);
	VAL(after[0] == (word)CALL0(SYS_getpid));
	look("getppid", SYS_getppid, 3);
	VAL((long)after[0]);
	look("unknown number", 100000, 3);
	VAL((long)after[0]);
	look("sched_yield", 24, 100);
	look("write with a bad descriptor", SYS_write, 3);
	VAL((long)after[0]);
	look("close with a bad descriptor", SYS_close, 3);
	VAL((long)after[0]);
	CALL1(SYS_exit_group, report_failures ? 1 : 0);
	__builtin_unreachable();
}

START;
