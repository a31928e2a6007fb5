// Blocked signals wait: sigprocmask, sigpending, sigsuspend, one instance of standard signals, order of delivery.
// variants: dynamic static-pie musl
#include "report.h"

static char order[16];
static volatile int length;

static void on_signal(int number)
{
	order[length++] = number == SIGUSR1 ? '1' : number == SIGUSR2 ? '2' : number == SIGTERM ? 'T' : '?';
}

static void show(const char *when)
{
	sigset_t pending;
	sigpending(&pending);
	SAY("%s: ran '%s' pending USR1 %d USR2 %d TERM %d", when, order, sigismember(&pending, SIGUSR1),
	    sigismember(&pending, SIGUSR2), sigismember(&pending, SIGTERM));
	memset(order, 0, sizeof(order));
	length = 0;
}

int main(void)
{
	sigset_t set, old, none;
	sigemptyset(&none);
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	signal(SIGTERM, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	ERR(sigprocmask(SIG_BLOCK, &set, &old));
	VAL(sigismember(&old, SIGUSR1));
	for (int i = 0; i < 3; i++)
		kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGTERM);
	show("blocked");
	sigdelset(&set, SIGUSR2);
	ERR(sigprocmask(SIG_UNBLOCK, &set, NULL));
	show("USR1 unblocked");
	ERR(sigsuspend(&none));
	show("suspended");
	sigprocmask(SIG_SETMASK, NULL, &old);
	SAY("USR2 blocked again %d", sigismember(&old, SIGUSR2));
	ERR(sigprocmask(SIG_SETMASK, &none, NULL));
	show("all open");
	CASE("what cannot be blocked");
	sigfillset(&set);
	ERR(sigprocmask(SIG_SETMASK, &set, NULL));
	sigprocmask(SIG_SETMASK, NULL, &old);
	SAY("KILL %d STOP %d TERM %d", sigismember(&old, SIGKILL), sigismember(&old, SIGSTOP), sigismember(&old, SIGTERM));
	ERR(sigprocmask(99, &set, NULL));
	CASE("ignoring throws away what is pending");
	kill(getpid(), SIGUSR1);
	show("pending");
	signal(SIGUSR1, SIG_IGN);
	show("ignored");
	DONE();
}
