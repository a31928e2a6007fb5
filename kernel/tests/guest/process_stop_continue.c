// A child stopped by SIGSTOP is reported with WUNTRACED, continues with SIGCONT, and is reported with WCONTINUED.
#include "report.h"
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	int status, pipes[2];
	char byte;
	pid_t child;
	siginfo_t info;
	if (argc > 1) {
		NEED(write(30, "r", 1));
		NEED(read(31, &byte, 1));
		NEED(write(30, "s", 1));
		NEED(read(31, &byte, 1));
		return 6;
	}
	int back[2];
	NEED(pipe(pipes));
	NEED(pipe(back));
	NEED(dup2(pipes[1], 30));
	NEED(dup2(back[0], 31));
	char *arguments[] = { argv[0], "child", NULL }, *environment[] = { NULL };
	RET(posix_spawn(&child, argv[0], NULL, NULL, arguments, environment));
	NEED(read(pipes[0], &byte, 1));
	ERR(kill(child, SIGSTOP));
	CHECK(waitpid(child, &status, WUNTRACED) == child);
	SAY("stopped %d by %s", WIFSTOPPED(status), signal_name(WSTOPSIG(status)));
	VAL(waitpid(child, &status, WUNTRACED | WNOHANG));
	NEED(write(back[1], "x", 1));
	struct pollfd entry = { pipes[0], POLLIN, 0 };
	VAL(poll(&entry, 1, 20));
	ERR(kill(child, SIGCONT));
	CHECK(waitid(P_PID, child, &info, WCONTINUED) == 0);
	VAL(read(pipes[0], &byte, 1));
	NEED(write(back[1], "x", 1));
	SAY("continued %d status %s", info.si_code == CLD_CONTINUED, signal_name(info.si_status));
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	CASE("killed while stopped");
	RET(posix_spawn(&child, argv[0], NULL, NULL, arguments, environment));
	NEED(read(pipes[0], &byte, 1));
	NEED(kill(child, SIGSTOP));
	CHECK(waitpid(child, &status, WUNTRACED) == child);
	NEED(kill(child, SIGKILL));
	CHECK(waitpid(child, &status, 0) == child);
	SAY("%s", signal_name(WTERMSIG(status)));
	DONE();
}
