// Writing to a pipe that nobody reads: SIGPIPE and EPIPE; with the signal ignored only EPIPE.
// variants: dynamic static-pie musl
#include "report.h"

static volatile int seen;

static void on_signal(int number)
{
	seen = number;
}

int main(void)
{
	int pipes[2];
	NEED(pipe(pipes));
	close(pipes[0]);
	signal(SIGPIPE, on_signal);
	ERR(write(pipes[1], "x", 1));
	SAY("%s", signal_name(seen));
	seen = 0;
	VAL(write(pipes[1], "", 0));
	SAY("%s", signal_name(seen));
	signal(SIGPIPE, SIG_IGN);
	ERR(write(pipes[1], "x", 1));
	SAY("%s", signal_name(seen));
	DONE();
}
