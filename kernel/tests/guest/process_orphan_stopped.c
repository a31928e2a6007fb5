// Which stopped processes are hung up when a parent ends: those whose group becomes orphaned by it, not those whose
// group was orphaned all the time (POSIX, _exit).
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static volatile sig_atomic_t hung_up;

static void on_hangup(int number)
{
	(void)number;
	hung_up = 1;
}

// A stopped process whose parent has ended; `own_session` puts it into a session of its own before.
static pid_t stopped_orphan(int own_session)
{
	int ends[2];
	NEED(pipe(ends));
	pid_t middle = NEED(fork());
	if (middle == 0) {
		NEED(setpgid(0, 0));
		pid_t child = NEED(fork());
		if (child == 0) {
			signal(SIGHUP, on_hangup);
			if (own_session)
				setsid();
			else
				setpgid(0, 0);
			raise(SIGSTOP);
			// Told to go on: by the test itself, or by the kernel with a hang-up.
			_exit(hung_up ? 1 : 0);
		}
		int status;
		NEED(waitpid(child, &status, WUNTRACED));
		NEED(write(ends[1], &child, sizeof child));
		_exit(WIFSTOPPED(status) ? 0 : 1);
	}
	pid_t orphan;
	NEED(read(ends[0], &orphan, sizeof orphan));
	int status;
	CHECK(waitpid(middle, &status, 0) == middle && status == 0);
	close(ends[0]);
	close(ends[1]);
	return orphan;
}

int main(void)
{
	NEED(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	int status;
	CASE("in a session of its own");
	pid_t apart = stopped_orphan(1);
	usleep(20000);
	CHECK(waitpid(apart, &status, WNOHANG) == 0);
	NEED(kill(apart, SIGCONT));
	CHECK(waitpid(apart, &status, 0) == apart);
	VAL(WEXITSTATUS(status));
	DONE();
}
