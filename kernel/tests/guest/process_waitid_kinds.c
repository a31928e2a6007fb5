// waitid without WEXITED does not wait for a child that has ended: it will never stop or continue.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/wait.h>

static pid_t ended_child(void)
{
	pid_t child = NEED(fork());
	if (child == 0)
		_exit(3);
	siginfo_t info;
	NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	return child;
}

int main(void)
{
	siginfo_t info;
	pid_t child = ended_child();
	CASE("only a zombie");
	ERR(waitid(P_PID, child, &info, WSTOPPED | WNOHANG));
	ERR(waitid(P_ALL, 0, &info, WSTOPPED));
	ERR(waitid(P_ALL, 0, &info, WCONTINUED));
	CASE("beside one that lives");
	int ends[2];
	NEED(pipe(ends));
	pid_t other = NEED(fork());
	if (other == 0) {
		char byte;
		close(ends[1]);
		read(ends[0], &byte, 1);
		_exit(0);
	}
	info.si_pid = 77;
	ERR(waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG));
	VAL(info.si_pid);
	close(ends[1]);
	CASE("both can be waited for");
	int status;
	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
	CHECK(waitpid(other, &status, 0) == other && status == 0);
	DONE();
}
