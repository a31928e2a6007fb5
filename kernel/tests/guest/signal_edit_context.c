// Handlers that change the saved registers: the instruction, the stack, general and vector registers, flags.
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

static volatile int phase;
static char *other_stack;
static volatile unsigned long landed_on;

static void landed(void)
{
	unsigned long sp;
	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	landed_on = sp;
	CHECK(sp > (unsigned long)other_stack && sp <= (unsigned long)other_stack + 65536);
	SAY("landed");
	exit(report_failures ? 1 : 0);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	(void)number, (void)info;
	switch (phase) {
	case 0: // the address in rax was bad: give a good one
		g[REG_RAX] = g[REG_RBX];
		break;
	case 1: // past the instruction, with another result
		g[REG_RIP] += 2;
		g[REG_RCX] = 4242;
		g[REG_EFL] |= 1;
		break;
	case 2: // a vector register
		memset(&uc->uc_mcontext.fpregs->_xmm[3], 0x5a, 16);
		g[REG_RIP] += 2;
		break;
	case 3: // elsewhere, on another stack
		g[REG_RIP] = (greg_t)landed;
		g[REG_RSP] = (greg_t)(other_stack + 65536 - 8);
		break;
	}
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	long good = 77, got;
	__asm__ volatile("mov (%%rax), %0" : "=r"(got) : "a"(8L), "b"(&good) : "memory");
	VAL(got);

	phase = 1;
	long rcx = 1;
	unsigned char carry;
	__asm__ volatile("clc\n ud2\n setc %1" : "+c"(rcx), "=q"(carry) : : "memory");
	VAL(rcx);
	VAL(carry);

	phase = 2;
	unsigned char bytes[16];
	__asm__ volatile("pxor %%xmm3, %%xmm3\n ud2\n movdqu %%xmm3, (%0)" : : "r"(bytes) : "xmm3", "memory");
	SAY("%02x %02x", bytes[0], bytes[15]);

	phase = 3;
	other_stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__asm__ volatile("movb $1, (%0)" : : "r"(16L) : "memory");
	return 9;
}
