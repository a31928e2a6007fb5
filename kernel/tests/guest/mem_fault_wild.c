// Accesses to addresses that no program may have: kernel half, non-canonical, high user space. Signal and si_code.
#include "report.h"
#include <setjmp.h>
#include <stdint.h>

static sigjmp_buf back;
static volatile int seen_signal, seen_code;
static void *volatile seen_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	seen_signal = number;
	seen_code = info->si_code;
	seen_address = info->si_addr;
	siglongjmp(back, 1);
}

static void touch(const char *what, uintptr_t address)
{
	if (sigsetjmp(back, 1) == 0)
		SAY("%s: read %d", what, *(volatile char *)address);
	else
		SAY("%s: %s code %d address given %d", what, signal_name(seen_signal), seen_code,
		    (uintptr_t)seen_address == address);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	touch("page 1", 4096);
	touch("low", 0xfff0);
	touch("non-canonical", 0x0000800000000000ul);
	touch("non-canonical high", 0x4141414141414141ul);
	touch("kernel", 0xffff888000000000ul);
	DONE();
}
