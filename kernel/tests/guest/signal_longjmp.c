// siglongjmp out of a handler restores the mask, also from the alternate stack and from a fault, many times over.
// variants: dynamic static-pie musl
#include "report.h"
#include <setjmp.h>
#include <stdlib.h>

static sigjmp_buf back;

static void on_signal(int number)
{
	siglongjmp(back, number);
}

int main(void)
{
	sigset_t now;
	static volatile int jumps, faults;
	volatile char *volatile null = NULL;
	signal(SIGUSR1, on_signal);
	for (jumps = 0; sigsetjmp(back, 1) != 0 || jumps == 0;) {
		if (++jumps > 1000)
			break;
		raise(SIGUSR1);
	}
	VAL(jumps);
	sigprocmask(SIG_SETMASK, NULL, &now);
	VAL(sigismember(&now, SIGUSR1));
	CASE("from the alternate stack, from faults");
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
	NEED(sigaltstack(&stack, NULL));
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	sigaction(SIGSEGV, &action, NULL);
	for (faults = 0; faults < 1000; faults++)
		if (sigsetjmp(back, 1) == 0)
			*null = 1;
	VAL(faults);
	NEED(sigaltstack(NULL, &stack));
	VAL(stack.ss_flags);
	CASE("mask not saved");
	if (sigsetjmp(back, 0) == 0)
		raise(SIGUSR1);
	sigprocmask(SIG_SETMASK, NULL, &now);
	VAL(sigismember(&now, SIGUSR1));
	DONE();
}
