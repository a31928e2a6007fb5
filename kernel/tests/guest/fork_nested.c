// Children of children, five deep, each with its own value of one variable; a zombie and its reaping; orphans.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sys/wait.h>

static int descend(int depth)
{
	int value = depth * 3, status;
	if (depth == 5)
		return value;
	pid_t child = NEED(fork());
	if (child == 0)
		_exit(descend(depth + 1));
	waitpid(child, &status, 0);
	return value + WEXITSTATUS(status);
}

int main(void)
{
	int status, pipes[2];
	char byte = 0;
	VAL(descend(0));
	CASE("orphan");
	NEED(pipe(pipes));
	pid_t child = NEED(fork());
	if (child == 0) {
		if (fork() == 0) {
			for (int i = 0; i < 2000 && getppid() != 1; i++)
				usleep(500);
			byte = getppid() == 1 ? 'y' : 'n';
			(void)!write(pipes[1], &byte, 1);
			_exit(0);
		}
		_exit(5);
	}
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	NEED(read(pipes[0], &byte, 1));
	SAY("%c", byte);
	CASE("zombie");
	child = NEED(fork());
	if (child == 0)
		_exit(6);
	usleep(20000);
	ERR(kill(child, 0));
	CHECK(waitpid(child, &status, 0) == child);
	ERR(kill(child, 0));
	DONE();
}
