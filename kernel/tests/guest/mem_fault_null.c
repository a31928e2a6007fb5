// Reading, writing and calling through NULL are SIGSEGV with SEGV_MAPERR, and the handler sees where.
// variants: dynamic static-pie musl
#include "report.h"
#include <setjmp.h>
#include <stdint.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static uintptr_t seen_rip;

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	(void)number;
	seen = *info;
	seen_rip = interrupted->uc_mcontext.gregs[REG_RIP];
	siglongjmp(back, 1);
}

static void tell(const char *what, uintptr_t expected)
{
	SAY("%s: %s maperr %d, address as expected %d", what, signal_name(seen.si_signo), seen.si_code == SEGV_MAPERR,
	    (uintptr_t)seen.si_addr == expected);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	volatile char *volatile null = NULL;
	void (*volatile function)(void) = NULL;
	sigaction(SIGSEGV, &action, NULL);

	if (sigsetjmp(back, 1) == 0)
		SAY("read %d", *null);
	tell("read", 0);
	if (sigsetjmp(back, 1) == 0)
		null[100] = 1;
	tell("write at 100", 100);
	if (sigsetjmp(back, 1) == 0)
		function();
	tell("call", 0);
	CHECK(seen_rip == 0);
	function = (void (*)(void))64;
	if (sigsetjmp(back, 1) == 0)
		function();
	tell("call 64", 64);
	CHECK(seen_rip == 64);
	DONE();
}
