// SIGCHLD carries who and how; SIG_IGN and SA_NOCLDWAIT leave nothing to wait for.
#include "report.h"
#include <sys/wait.h>

static siginfo_t seen;
static volatile int count;

static void on_child(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
	count++;
}

static pid_t start(int code)
{
	pid_t child = vfork();
	if (child == 0)
		_exit(code);
	return child;
}

int main(void)
{
	int status;
	struct sigaction action = { .sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART };
	sigaction(SIGCHLD, &action, NULL);
	pid_t child = start(7);
	CHECK(waitpid(child, &status, 0) == child);
	VAL(count);
	SAY("child %d code %d status %d", seen.si_pid == child, seen.si_code == CLD_EXITED, seen.si_status);
	child = vfork();
	if (child == 0) {
		kill(getpid(), SIGKILL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	VAL(count);
	SAY("child %d code %d %s", seen.si_pid == child, seen.si_code == CLD_KILLED, signal_name(seen.si_status));

	CASE("no wait flag");
	action.sa_flags |= SA_NOCLDWAIT;
	sigaction(SIGCHLD, &action, NULL);
	child = start(1);
	ERR(waitpid(child, &status, 0));
	VAL(count);
	CASE("ignored");
	signal(SIGCHLD, SIG_IGN);
	child = start(1);
	ERR(waitpid(child, &status, 0));
	ERR(waitpid(-1, &status, 0));
	VAL(count);
	CASE("default again");
	signal(SIGCHLD, SIG_DFL);
	child = start(2);
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	DONE();
}
