// fork: the child has a copy of memory, its writes do not show in the parent, its exit status does.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sys/wait.h>

static int global = 1;

int main(void)
{
	int local = 2, status;
	pid_t child = NEED(fork());
	if (child == 0) {
		global = 10;
		local = 20;
		CHECK(getppid() != 1);
		_exit(global + local);
	}
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WIFEXITED(status));
	VAL(WEXITSTATUS(status));
	VAL(global);
	VAL(local);
	DONE();
}
