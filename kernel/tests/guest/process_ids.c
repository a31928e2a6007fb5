// Process groups and sessions: getpgid, setpgid, getsid, setsid and their errors.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile int results[8];

int main(void)
{
	int status;
	CHECK(getpgid(0) == getpgrp());
	CHECK(getpgid(getpid()) == getpgrp());
	CHECK(getsid(0) == 1 && getpgrp() == 1);
	CHECK(getsid(getpid()) == getsid(0));
	ERR(getpgid(999999));
	ERR(getsid(999999));
	ERR(setpgid(0, 999999));
	ERR(setpgid(999999, 0));
	ERR(setpgid(0, -1));
	ERR(setpgid(0, 0));
	CHECK(getpgrp() == getpid());
	ERR(setpgid(0, 0));
	ERR(setsid());
	CASE("a child");
	pid_t child = vfork();
	if (child == 0) {
		results[0] = getpgrp() == getppid();
		results[1] = setsid() == getpid();
		results[2] = getpgrp() == getpid() && getsid(0) == getpid();
		results[3] = setsid() == -1 && errno == EPERM;
		results[4] = setpgid(0, 0) == -1 ? errno : 0;
		_exit(0);
	}
	waitpid(child, &status, 0);
	for (int i = 0; i < 4; i++)
		VAL(results[i]);
	SAY("%s", errno_name(results[4]));
	CHECK(syscall(SYS_gettid) == getpid());
	ERR(setpgid(0, 1));
	CHECK(getpgrp() == 1);
	DONE();
}
