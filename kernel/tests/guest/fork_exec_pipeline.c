// A pipeline of three forked and executed programs, as a shell makes it.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/wait.h>

static void start(int in, int out, const int *all, char *const *command)
{
	if (NEED(fork()) == 0) {
		dup2(in, 0);
		dup2(out, 1);
		for (int i = 0; i < 4; i++)
			close(all[i]);
		execvp(command[0], command);
		_exit(127);
	}
}

int main(void)
{
	int pipes[4], status, codes = 0;
	SAY("begin");
	NEED(pipe(pipes));
	NEED(pipe(pipes + 2));
	start(0, pipes[1], pipes, (char *[]){ "busybox", "seq", "1", "20", NULL });
	start(pipes[0], pipes[3], pipes, (char *[]){ "busybox", "grep", "1", NULL });
	start(pipes[2], 1, pipes, (char *[]){ "busybox", "wc", "-l", NULL });
	for (int i = 0; i < 4; i++)
		close(pipes[i]);
	while (wait(&status) > 0)
		codes += WEXITSTATUS(status);
	VAL(codes);
	DONE();
}
