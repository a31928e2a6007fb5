// A signal handler without a C library: its own restorer, arguments, alignment, registers and flags restored.
// variants: raw
#include "freestanding.h"

struct action {
	void (*handler)(int, void *, void *);
	word flags;
	void (*restorer)(void);
	word mask;
};

enum { SIGUSR1 = 10, SA_SIGINFO = 4, SA_RESTORER = 0x04000000 };

static volatile int runs, aligned, arguments, direction;

asm(".balign 16\nrestore:\n\tmov $15, %eax\n\tsyscall\n\tud2\n");
void restore(void) __attribute__((visibility("hidden")));

static void handler(int number, void *info, void *context)
{
	word here, flags;
	asm volatile("lea (%%rsp), %0\n\tpushfq\n\tpop %1" : "=r"(here), "=r"(flags));
	runs++;
	direction = (flags >> 10) & 1;
	arguments = number == SIGUSR1 && ((int *)info)[0] == SIGUSR1 && context != 0;
	asm volatile("pcmpeqd %%xmm3, %%xmm3" ::: "xmm3");
}

// The ABI wants rsp + 8 divisible by 16 at a function's first instruction.
asm(".balign 16\nhandler_entry:\n\tmov %rsp, %rax\n\tadd $8, %rax\n\ttest $15, %al\n\tsete %al\n\tmovzbl %al, %eax\n\t"
    "mov %eax, aligned_word(%rip)\n\tjmp handler_body\n.local aligned_word\n.comm aligned_word,4,4\n"
    "get_aligned: mov aligned_word(%rip), %eax\n\tret\n");
void handler_entry(int, void *, void *) __attribute__((visibility("hidden")));
int get_aligned(void) __attribute__((visibility("hidden")));
__attribute__((used)) void handler_body(int number, void *info, void *context) __attribute__((visibility("hidden")));
void handler_body(int number, void *info, void *context)
{
	handler(number, info, context);
}

__attribute__((used, noreturn)) void entry(word *stack)
{
	(void)stack;
	struct action action = { handler_entry, SA_SIGINFO | SA_RESTORER, restore, 0 };
	VAL(CALL4(SYS_rt_sigaction, SIGUSR1, &action, 0, 8));
	VAL(CALL4(SYS_rt_sigaction, SIGUSR1, &action, 0, 4));
	word pid = CALL0(SYS_getpid), wrong = 0;
	double pattern = 1.5, after = 0;
	for (int i = 0; i < 20; i++) {
		word rbx, flags;
		long result;
		asm volatile("movsd %[pattern], %%xmm3\n\tmov $0x77, %%ebx\n\tstc\n\tmov $62, %%eax\n\tsyscall\n\t"
			     "pushfq\n\tpop %[flags]\n\tmov %%rbx, %[rbx]\n\tmovsd %%xmm3, %[after]"
			     : "=&a"(result), [rbx] "=&r"(rbx), [flags] "=&r"(flags), [after] "=m"(after)
			     : "D"(pid), "S"((long)SIGUSR1), [pattern] "m"(pattern)
			     : "rbx", "rcx", "r11", "xmm3", "memory", "cc");
		wrong += result != 0 || rbx != 0x77 || !(flags & 1) || after != pattern;
	}
	VAL(runs);
	VAL(wrong);
	VAL(get_aligned());
	VAL(arguments);
	VAL(direction);
	CALL1(SYS_exit_group, 0);
	__builtin_unreachable();
}

START;
