// PR_SET_PDEATHSIG: when the parent ends, the child gets its signal.
#include "report.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
	int pipes[2], status;
	pid_t child;
	char byte = '-', number[16];
	if (argc > 1 && argv[1][0] == 'm') {
		int ready[2];
		NEED(pipe(ready));
		NEED(dup2(ready[1], 50));
		posix_spawn(&child, argv[0], NULL, NULL, (char *[]){ argv[0], "child", argv[2], NULL }, environ);
		NEED(read(ready[0], &byte, 1));
		return 0;
	}
	if (argc > 1) {
		sigset_t mask;
		siginfo_t info;
		struct timespec limit = { 5, 0 };
		sigemptyset(&mask);
		sigaddset(&mask, SIGUSR1);
		sigprocmask(SIG_BLOCK, &mask, NULL);
		NEED(prctl(PR_SET_PDEATHSIG, SIGUSR1));
		NEED(write(50, "r", 1));
		byte = sigtimedwait(&mask, &info, &limit) == SIGUSR1 && getppid() == 1 ? 'y' : 'n';
		NEED(write(atoi(argv[2]), &byte, 1));
		return 0;
	}
	NEED(pipe(pipes));
	snprintf(number, sizeof(number), "%d", pipes[1]);
	RET(posix_spawn(&child, argv[0], NULL, NULL, (char *[]){ argv[0], "middle", number, NULL }, environ));
	waitpid(child, &status, 0);
	NEED(read(pipes[0], &byte, 1));
	SAY("signal came: %c", byte);
	DONE();
}
