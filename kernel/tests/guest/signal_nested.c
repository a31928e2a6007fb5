// Handlers interrupted by handlers of other signals return in reverse order; masks unwind with them.
// variants: dynamic static-pie musl
#include "report.h"

static volatile char trace[64];
static volatile int length;

static int blocked(int number)
{
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, number);
}

static void inner(int number)
{
	(void)number;
	trace[length++] = blocked(SIGUSR1) && blocked(SIGUSR2) ? 'I' : '!';
}

static void middle(int number)
{
	(void)number;
	trace[length++] = '(';
	raise(SIGTERM);
	trace[length++] = ')';
}

static void outer(int number)
{
	(void)number;
	trace[length++] = '[';
	raise(SIGUSR2);
	raise(SIGUSR1);
	trace[length++] = ']';
	if (length > 20)
		signal(SIGUSR1, SIG_IGN);
}

int main(void)
{
	signal(SIGUSR1, outer);
	signal(SIGUSR2, middle);
	signal(SIGTERM, inner);
	raise(SIGUSR1);
	SAY("%s", (const char *)trace);
	SAY("%d %d %d", blocked(SIGUSR1), blocked(SIGUSR2), blocked(SIGTERM));
	DONE();
}
