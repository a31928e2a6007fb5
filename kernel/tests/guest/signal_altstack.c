// sigaltstack: handlers run there with SA_ONSTACK, its state can be read, it cannot be changed from itself.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdint.h>
#include <stdlib.h>

static char *area;
static size_t size = 64 * 1024;
static volatile int inside, flags_inside, change_errno;

static void on_signal(int number)
{
	stack_t now;
	char here;
	(void)number;
	inside = &here >= area && &here < area + size;
	sigaltstack(NULL, &now);
	flags_inside = now.ss_flags;
	stack_t other = { .ss_sp = area, .ss_size = size };
	change_errno = sigaltstack(&other, NULL) == 0 ? 0 : errno;
}

int main(void)
{
	stack_t stack, old;
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	area = malloc(size);
	ERR(sigaltstack(NULL, &old));
	VAL(old.ss_flags == SS_DISABLE);
	stack = (stack_t){ .ss_sp = area, .ss_size = size };
	ERR(sigaltstack(&stack, NULL));
	ERR(sigaltstack(NULL, &old));
	CHECK(old.ss_sp == area && old.ss_size == size && old.ss_flags == 0);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	SAY("on it %d, flags ONSTACK %d, change %s", inside, flags_inside == SS_ONSTACK, errno_name(change_errno));
	action.sa_flags = 0;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	SAY("on it %d, flags %d, change %s", inside, flags_inside, errno_name(change_errno));
	CASE("errors");
	stack.ss_size = 100;
	ERR(sigaltstack(&stack, NULL));
	stack = (stack_t){ .ss_sp = area, .ss_size = size, .ss_flags = 77 };
	ERR(sigaltstack(&stack, NULL));
	stack = (stack_t){ .ss_flags = SS_DISABLE };
	ERR(sigaltstack(&stack, NULL));
	action.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	SAY("on it %d, disabled %d", inside, flags_inside == SS_DISABLE);
	DONE();
}
