// vfork children end with every kind of status: exit codes, their low byte, signals by name.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum how { ENDS, ENDS_ITS_THREAD, SIGNALS_ITSELF };

__attribute__((noinline)) static pid_t start(enum how how, int number)
{
	pid_t child = vfork();
	if (child != 0)
		return child;
	if (how == ENDS)
		_exit(number);
	if (how == ENDS_ITS_THREAD)
		syscall(SYS_exit, number);
	syscall(SYS_kill, syscall(SYS_getpid), number);
	_exit(5);
}

int main(void)
{
	int status;
	pid_t child;
	for (int i = 0; i < 5; i++) {
		static const int codes[] = { 0, 1, 127, 255, 256 + 7 };
		child = start(ENDS, codes[i]);
		CHECK(waitpid(child, &status, 0) == child);
		SAY("exit(%d): exited %d status %d", codes[i], WIFEXITED(status), WEXITSTATUS(status));
	}
	child = start(ENDS_ITS_THREAD, 9);
	waitpid(child, &status, 0);
	SAY("exit: %d", WEXITSTATUS(status));
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM,
				       SIGTERM, SIGUSR1, SIGUSR2, SIGBUS, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF,
				       SIGIO, SIGPWR, SIGSTKFLT };
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		child = start(SIGNALS_ITSELF, signals[i]);
		waitpid(child, &status, 0);
		SAY("%s: exited %d signalled %d by %s core %d", signal_name(signals[i]), WIFEXITED(status),
		    WIFSIGNALED(status), signal_name(WTERMSIG(status)), WCOREDUMP(status) != 0);
	}
	static const int harmless[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
	for (unsigned i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		child = start(SIGNALS_ITSELF, harmless[i]);
		waitpid(child, &status, 0);
		SAY("%s: exited %d status %d", signal_name(harmless[i]), WIFEXITED(status), WEXITSTATUS(status));
	}
	DONE();
}
