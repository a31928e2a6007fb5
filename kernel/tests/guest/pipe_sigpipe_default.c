// SIGPIPE ends a program that has no handler for it.
// exits: 141
#include "report.h"

int main(void)
{
	int pipes[2];
	NEED(pipe(pipes));
	close(pipes[0]);
	SAY("before");
	VAL(write(pipes[1], "x", 1));
	return 0;
}
