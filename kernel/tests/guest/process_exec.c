// execve with arguments and environment; pid, descriptors, directory, mask and ignored signals survive, handlers do not.
// variants: dynamic static-pie musl fixed
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

static void on_signal(int number)
{
	(void)number;
}

static int after(int argc, char **argv)
{
	struct sigaction action;
	sigset_t mask;
	char cwd[64];
	for (int i = 0; i < argc; i++)
		SAY("argument %d: %s", i, argv[i]);
	for (char **entry = environ; *entry; entry++)
		if (strncmp(*entry, "WAS=", 4) != 0)
			SAY("environment: %s", *entry);
	SAY("cwd %s umask %o", getcwd(cwd, sizeof(cwd)), umask(0));
	SAY("kept %d closed %d", fcntl(30, F_GETFD), fcntl(31, F_GETFD));
	sigprocmask(SIG_SETMASK, NULL, &mask);
	SAY("blocked USR1 %d USR2 %d", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2));
	sigaction(SIGTERM, NULL, &action);
	SAY("TERM default %d", action.sa_handler == SIG_DFL);
	sigaction(SIGHUP, NULL, &action);
	SAY("HUP ignored %d", action.sa_handler == SIG_IGN);
	sigset_t pending;
	sigpending(&pending);
	SAY("pending USR1 %d", sigismember(&pending, SIGUSR1));
	SAY("same pid %d", atoi(getenv("WAS")) == getpid());
	return 42;
}

int main(int argc, char **argv)
{
	char was[32];
	int status;
	if (argc > 1)
		return after(argc, argv);

	pid_t child = vfork();
	if (child == 0) {
		sigset_t mask;
		sigemptyset(&mask);
		sigaddset(&mask, SIGUSR1);
		sigprocmask(SIG_BLOCK, &mask, NULL);
		kill(getpid(), SIGUSR1);
		signal(SIGTERM, on_signal);
		signal(SIGHUP, SIG_IGN);
		chdir("/tmp");
		umask(027);
		dup3(1, 30, 0);
		dup3(1, 31, O_CLOEXEC);
		snprintf(was, sizeof(was), "WAS=%d", getpid());
		char *arguments[] = { "zero", "one", "", "three words here", NULL };
		char *environment[] = { "A=1", "EMPTY=", "B=two = 2", was, NULL };
		execve("/proc/self/exe", arguments, (environment[3] = was, environment));
		_exit(1);
	}
	(void)argv;
	waitpid(child, &status, 0);
	SAY("exited %d status %d", WIFEXITED(status), WEXITSTATUS(status));
	DONE();
}
