// kill, tgkill and tkill: existence checks, groups, bad numbers, users who may not.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile int count;
static volatile int results[4];

static void on_signal(int number)
{
	(void)number;
	count++;
}

int main(void)
{
	int status;
	signal(SIGUSR1, on_signal);
	ERR(kill(getpid(), 0));
	ERR(kill(999999, 0));
	ERR(kill(getpid(), 65));
	ERR(kill(getpid(), -1));
	ERR(kill(-999999, SIGUSR1));
	ERR(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
	VAL(count);
	ERR(syscall(SYS_tkill, getpid(), SIGUSR1));
	VAL(count);
	ERR(syscall(SYS_tgkill, getpid() + 1, getpid(), SIGUSR1));
	ERR(syscall(SYS_tgkill, -1, getpid(), SIGUSR1));
	ERR(syscall(SYS_tgkill, getpid(), 0, SIGUSR1));
	ERR(syscall(SYS_tkill, 999999, SIGUSR1));
	CASE("group");
	NEED(setpgid(0, 0));
	ERR(kill(0, SIGUSR1));
	VAL(count);
	ERR(kill(-getpgrp(), SIGUSR1));
	VAL(count);
	CASE("another user");
	pid_t child = vfork();
	if (child == 0) {
		syscall(SYS_setresuid, 1000, 1000, 1000);
		results[0] = kill(getppid(), SIGUSR1) == -1 ? errno : 0;
		results[1] = kill(getppid(), 0) == -1 ? errno : 0;
		results[2] = kill(1, SIGKILL) == -1 ? errno : 0;
		_exit(0);
	}
	waitpid(child, &status, 0);
	SAY("%s %s %s", errno_name(results[0]), errno_name(results[1]), errno_name(results[2]));
	VAL(count);
	CASE("process 1 is not ended by signals it has no handler for");
	ERR(kill(1, SIGTERM));
	ERR(kill(1, 0));
	DONE();
}
