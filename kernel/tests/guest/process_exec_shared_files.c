// A process that shares its descriptor table with another one gets a table of its own from execve: what is closed on
// exec stays open in the other.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	if (argc > 1) {
		int closed = fcntl(atoi(argv[1]), F_GETFD) == -1 && fcntl(atoi(argv[2]), F_GETFD) == 0;
		int extra = open("/dev/null", O_RDONLY);
		return closed && extra >= 0 ? 0 : 1;
	}
	int marked = NEED(open("/dev/null", O_RDONLY | O_CLOEXEC));
	int plain = NEED(open("/dev/null", O_RDONLY));
	char first[16], second[16];
	snprintf(first, sizeof first, "%d", marked);
	snprintf(second, sizeof second, "%d", plain);
	pid_t child = NEED(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
	if (child == 0) {
		char *arguments[] = { argv[0], first, second, NULL };
		execv("/proc/self/exe", arguments);
		_exit(9);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	VAL(fcntl(marked, F_GETFD));
	VAL(fcntl(plain, F_GETFD));
	// What the new program opened is its own.
	CHECK(open("/dev/null", O_RDONLY) == plain + 1);
	DONE();
}
