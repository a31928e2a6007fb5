// SIGTRAP from int3 and from single-stepping, and SIGFPE by every reason that the processor has.
#include "report.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf out;
static volatile int steps, traps, code;
static volatile unsigned long first, last;

static void on_trap(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	(void)number;
	code = info->si_code;
	if (info->si_code == TRAP_TRACE) {
		unsigned long rip = uc->uc_mcontext.gregs[REG_RIP];
		if (steps++ == 0)
			first = rip;
		last = rip;
		return;
	}
	traps++;
	first = uc->uc_mcontext.gregs[REG_RIP];
}

static void on_fpe(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	code = info->si_code;
	siglongjmp(out, 1);
}

static volatile double zero = 0, one = 1, huge = 1e308, tiny = 1e-308, third = 3;
static volatile double result;
static volatile int izero = 0, least = -2147483647 - 1, minus = -1, iresult;

enum { INVALID = 1, BY_ZERO = 4, OVERFLOW = 8, UNDERFLOW = 16, INEXACT = 32 };

// Lets the exceptions of the set trap, in both floating-point units, with nothing pending.
static void unmask(unsigned set)
{
	unsigned mxcsr = 0x1f80 & ~(set << 7);
	unsigned short control = 0x37f & ~set;
	__asm__ volatile("fnclex\n fldcw %0\n ldmxcsr %1" : : "m"(control), "m"(mxcsr));
}

static void floating(const char *name, unsigned exception, double (*f)(void))
{
	code = 0;
	if (sigsetjmp(out, 1) == 0) {
		unmask(exception);
		result = f();
	}
	unmask(0);
	SAY("%s: code %d", name, code);
}

static double by_zero(void) { return one / zero; }
static double invalid(void) { return zero / zero; }
static double overflow(void) { return huge * huge; }
static double underflow(void) { return tiny * tiny; }
static double inexact(void) { return one / third; }
static double x87(void)
{
	volatile long double a = one, b = zero;
	return a / b;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	sigaction(SIGTRAP, &action, NULL);
	action.sa_sigaction = on_fpe;
	sigaction(SIGFPE, &action, NULL);

	CASE("int3");
	unsigned long after;
	__asm__ volatile("int3\n1: lea 1b(%%rip), %0" : "=r"(after));
	VAL(traps);
	CHECK(first == after);
	CHECK(code == SI_KERNEL);

	CASE("single step");
	unsigned long label_first, label_end;
	__asm__ volatile(
		"lea 2f(%%rip), %0\n lea 3f(%%rip), %1\n"
		"sub $128, %%rsp\n pushfq\n orl $0x100, (%%rsp)\n popfq\n"
		"nop\n"
		"2: nop\n nop\n mov $39, %%eax\n syscall\n nop\n"
		"pushfq\n andl $~0x100, (%%rsp)\n popfq\n"
		"3: nop\n add $128, %%rsp\n"
		: "=&r"(label_first), "=&r"(label_end) : : "rax", "rcx", "r11", "memory", "cc");
	CHECK(steps >= 8);
	CHECK(first == label_first);
	CHECK(last == label_end);
	VAL(code);

	CASE("integers");
	code = 0;
	if (sigsetjmp(out, 1) == 0)
		iresult = 1 / izero;
	VAL(code);
	code = 0;
	if (sigsetjmp(out, 1) == 0)
		iresult = least / minus;
	VAL(code);

	CASE("floating point");
	floating("by zero", BY_ZERO, by_zero);
	floating("invalid", INVALID, invalid);
	floating("overflow", OVERFLOW, overflow);
	floating("underflow", UNDERFLOW, underflow);
	floating("inexact", INEXACT, inexact);
	floating("x87 by zero", BY_ZERO, x87);
	DONE();
}
