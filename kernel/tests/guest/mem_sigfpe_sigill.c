// Integer division by zero, ud2, int3 and a privileged instruction: the right signal, code and address each.
// variants: dynamic static-pie musl
#include "report.h"
#include <setjmp.h>
#include <stdint.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static uintptr_t seen_rip;
extern char at_divide[], at_ud2[], at_hlt[], after_int3[];

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	(void)number;
	seen = *info;
	seen_rip = interrupted->uc_mcontext.gregs[REG_RIP];
	siglongjmp(back, 1);
}

static void tell(const char *what)
{
	SAY("%s: %s code %d", what, signal_name(seen.si_signo), seen.si_code);
}

__attribute__((noinline, noclone)) static void divide(void)
{
	asm volatile("xor %%edx, %%edx\n\tmov $1, %%eax\n\txor %%ecx, %%ecx\n"
		     ".globl at_divide\nat_divide:\n\tdivl %%ecx" ::: "eax", "ecx", "edx", "cc");
}

__attribute__((noinline, noclone)) static void undefined(void)
{
	asm volatile(".globl at_ud2\nat_ud2:\n\tud2");
}

__attribute__((noinline, noclone)) static void breakpoint(void)
{
	asm volatile("int3\n.globl after_int3\nafter_int3:");
}

__attribute__((noinline, noclone)) static void privileged(void)
{
	asm volatile(".globl at_hlt\nat_hlt:\n\thlt");
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	for (int i = 0; i < 4; i++)
		sigaction((int[]){ SIGSEGV, SIGFPE, SIGILL, SIGTRAP }[i], &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		divide();
	tell("divide");
	CHECK(seen_rip == (uintptr_t)at_divide && seen.si_addr == at_divide);
	if (sigsetjmp(back, 1) == 0)
		undefined();
	tell("ud2");
	CHECK(seen_rip == (uintptr_t)at_ud2 && seen.si_addr == at_ud2);
	if (sigsetjmp(back, 1) == 0)
		breakpoint();
	tell("int3");
	CHECK(seen_rip == (uintptr_t)after_int3);
	if (sigsetjmp(back, 1) == 0)
		privileged();
	tell("hlt");
	CHECK(seen_rip == (uintptr_t)at_hlt);
	DONE();
}
