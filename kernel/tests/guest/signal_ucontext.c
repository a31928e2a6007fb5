// A handler may change the interrupted registers: skip an instruction, set a result, move to another function.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdint.h>
#include <ucontext.h>

static volatile uint64_t registers[16];
static volatile int mask_seen;

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	greg_t *saved = interrupted->uc_mcontext.gregs;
	(void)info;
	if (number == SIGILL) {
		saved[REG_RIP] += 2;
		saved[REG_RAX] = 0x1234567890abcdef;
		return;
	}
	static const int numbers[] = { REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12,
				       REG_R13, REG_R14, REG_R15 };
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		registers[i] = saved[numbers[i]];
	mask_seen = sigismember(&interrupted->uc_sigmask, SIGUSR1);
	saved[REG_RIP] += 1;
}

int main(void)
{
	uint64_t result, flags;
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	asm volatile("xor %%eax, %%eax\n\tud2" : "=a"(result));
	SAY("%lx", result);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	asm volatile("push %%rbx\n\tmov $1, %%ebx\n\tmov $2, %%ecx\n\tmov $3, %%edx\n\tmov $4, %%esi\n\tmov $5, %%edi\n\t"
		     "mov $6, %%r8d\n\tmov $7, %%r9d\n\tmov $8, %%r10d\n\tmov $9, %%r11d\n\tmov $10, %%r12d\n\t"
		     "mov $11, %%r13d\n\tmov $12, %%r14d\n\tmov $13, %%r15d\n\thlt\n\tpop %%rbx"
		     ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	for (int i = 0; i < 13; i++)
		VAL(registers[i]);
	VAL(mask_seen);
	CASE("registers and flags come back");
	uint64_t differences = 0;
	asm volatile("mov $0x1111, %%r12d\n\tmov $0x2222, %%r13d\n\tmov $0x3333, %%r14d\n\tmov $0x4444, %%r15d\n\t"
		     "stc\n\tud2\n\tpushf\n\tpop %1\n\t"
		     "xor $0x1111, %%r12\n\txor $0x2222, %%r13\n\txor $0x3333, %%r14\n\txor $0x4444, %%r15\n\t"
		     "or %%r13, %%r12\n\tor %%r14, %%r12\n\tor %%r15, %%r12\n\tmov %%r12, %0"
		     : "=r"(differences), "=&r"(flags) :: "rax", "r12", "r13", "r14", "r15", "cc", "memory");
	VAL(differences);
	VAL(flags & 1);
	DONE();
}
