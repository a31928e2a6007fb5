// The runner gives a program the same start on both sides: environment, directory, limits, descriptors, signals.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>

extern char **environ;

int main(int argc, char **argv)
{
	char cwd[64];
	sigset_t mask;
	struct rlimit limit;
	int count = 0;

	VAL(argc);
	SAY("argv[0] is absolute: %d", argv[0][0] == '/');
	for (char **entry = environ; *entry; entry++, count++)
		SAY("%s", *entry);
	VAL(count);
	SAY("cwd %s", getcwd(cwd, sizeof(cwd)));
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int number = 1; number < 65; number++)
		if (sigismember(&mask, number) == 1)
			SAY("blocked %d", number);
	for (int number = 1; number < 32; number++) {
		struct sigaction action;
		if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			SAY("not default: %s", signal_name(number));
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	VAL(limit.rlim_cur);
	VAL(limit.rlim_max);
	getrlimit(RLIMIT_STACK, &limit);
	VAL(limit.rlim_cur);
	VAL(umask(0));
	CHECK(getppid() == 1);
	CHECK(getpid() > 1);
	CHECK(fcntl(0, F_GETFD) == 0 && fcntl(1, F_GETFD) == 0 && fcntl(2, F_GETFD) == 0);
	ERR(fcntl(3, F_GETFD));
	DONE();
}
