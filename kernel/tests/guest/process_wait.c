// wait4 and waitid: WNOHANG, WNOWAIT, which children, what siginfo and rusage say, ECHILD.
// variants: dynamic static-pie musl fixed
#include "report.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char *program;

static pid_t start(const char *how, const char *milliseconds)
{
	pid_t child;
	char *arguments[] = { program, (char *)how, (char *)milliseconds, NULL }, *environment[] = { NULL };
	return posix_spawn(&child, program, NULL, NULL, arguments, environment) == 0 ? child : -1;
}

static void tell(const siginfo_t *info, pid_t child)
{
	SAY("%s child %d code %d status %d uid %d", signal_name(info->si_signo), info->si_pid == child, info->si_code,
	    info->si_status, info->si_uid);
}

int main(int argc, char **argv)
{
	int status;
	siginfo_t info;
	struct rusage usage;
	program = argv[0];
	if (argc == 3) {
		usleep(atoi(argv[2]) * 1000);
		if (argv[1][0] == 'k')
			raise(SIGKILL);
		return atoi(argv[1]);
	}
	CASE("not yet");
	pid_t child = start("3", "100");
	VAL(waitpid(child, &status, WNOHANG));
	memset(&info, 1, sizeof(info));
	VAL(waitid(P_PID, child, &info, WEXITED | WNOHANG));
	VAL(info.si_pid);
	VAL(info.si_signo);
	CASE("look, then take");
	ERR(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	tell(&info, child);
	ERR(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	CHECK(wait4(child, &status, 0, &usage) == child);
	VAL(WEXITSTATUS(status));
	CHECK(usage.ru_utime.tv_sec == 0 && usage.ru_maxrss >= 0);
	ERR(waitpid(child, &status, 0));
	CASE("killed");
	child = start("k", "0");
	ERR(waitid(P_ALL, 0, &info, WEXITED));
	tell(&info, child);
	CASE("any order");
	pid_t slow = start("1", "200"), fast = start("2", "1");
	CHECK(waitpid(-1, &status, 0) == fast);
	VAL(WEXITSTATUS(status));
	CHECK(waitpid(0, &status, 0) == slow);
	VAL(WEXITSTATUS(status));
	CASE("one of them");
	slow = start("1", "0");
	fast = start("2", "20");
	CHECK(waitpid(fast, &status, 0) == fast);
	VAL(WEXITSTATUS(status));
	CHECK(waitpid(-getpgrp(), &status, 0) == slow);
	VAL(WEXITSTATUS(status));
	CASE("errors");
	ERR(waitpid(-1, &status, 0));
	ERR(waitpid(getpid(), &status, 0));
	ERR(waitpid(-1, &status, 0x40000));
	ERR(waitid(P_PID, 1, &info, 0));
	ERR(waitid(77, 1, &info, WEXITED));
	ERR(waitid(P_PID, 999999, &info, WEXITED));
	ERR(getrusage(RUSAGE_CHILDREN, &usage));
	DONE();
}
