// A child whose parent has gone belongs to process 1, and says so itself.
#include "report.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
	int status, pipes[2];
	char byte = 0;
	pid_t child;
	if (argc > 1 && argv[1][0] == 'm') {
		char *arguments[] = { argv[0], "orphan", argv[2], NULL };
		posix_spawn(&child, argv[0], NULL, NULL, arguments, environ);
		return 4;
	}
	if (argc > 1) {
		for (int i = 0; i < 1000 && getppid() != 1; i++)
			usleep(1000);
		byte = getppid() == 1 ? 'y' : 'n';
		NEED(write(atoi(argv[2]), &byte, 1));
		return 0;
	}
	char number[16];
	NEED(pipe(pipes));
	snprintf(number, sizeof(number), "%d", pipes[1]);
	char *arguments[] = { argv[0], "middle", number, NULL };
	RET(posix_spawn(&child, argv[0], NULL, NULL, arguments, environ));
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	close(pipes[1]);
	VAL(read(pipes[0], &byte, 1));
	SAY("adopted by process 1: %c", byte);
	VAL(read(pipes[0], &byte, 1));
	ERR(waitpid(-1, &status, 0));
	DONE();
}
