// fork keeps handlers and the mask, drops what was pending and alarms; signals between parent and child.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sys/wait.h>

static volatile int seen;

static void on_signal(int number)
{
	seen = number;
}

int main(void)
{
	sigset_t set, pending;
	int status;
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	alarm(100);
	pid_t child = NEED(fork());
	if (child == 0) {
		sigpending(&pending);
		SAY("pending in the child %d, alarm %d", sigismember(&pending, SIGUSR1), alarm(0));
		sigprocmask(SIG_SETMASK, NULL, &set);
		SAY("blocked in the child %d", sigismember(&set, SIGUSR1));
		kill(getppid(), SIGUSR2);
		sigemptyset(&set);
		while (seen != SIGUSR1)
			sigsuspend(&set);
		SAY("child got it");
		_exit(0);
	}
	while (seen != SIGUSR2)
		usleep(1000);
	kill(child, SIGUSR1);
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	sigpending(&pending);
	SAY("pending in the parent %d, alarm %d", sigismember(&pending, SIGUSR1), alarm(0) > 90);
	DONE();
}
