// A pipe holds 64 KB, a non-blocking write of more is short, F_SETPIPE_SZ changes it.
#include "report.h"
#include <fcntl.h>

static long fill(int fd)
{
	static char block[4096];
	long total = 0, wrote;
	while ((wrote = write(fd, block, sizeof(block))) > 0)
		total += wrote;
	SAY("then %s", errno_name(errno));
	return total;
}

int main(void)
{
	static char text[200000];
	int pipes[2];
	NEED(pipe2(pipes, O_NONBLOCK));
	VAL(fcntl(pipes[0], F_GETPIPE_SZ));
	VAL(fill(pipes[1]));
	VAL(read(pipes[0], text, 4096));
	VAL(write(pipes[1], text, 4096));
	ERR(write(pipes[1], text, 1));
	VAL(read(pipes[0], text, sizeof(text)));
	VAL(write(pipes[1], text, sizeof(text)));
	CASE("resized");
	ERR(fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	VAL(read(pipes[0], text, sizeof(text)));
	VAL(fcntl(pipes[1], F_SETPIPE_SZ, 4096));
	VAL(fill(pipes[1]));
	VAL(fcntl(pipes[1], F_SETPIPE_SZ, 131072));
	VAL(fill(pipes[1]));
	VAL(fcntl(pipes[0], F_GETPIPE_SZ));
	VAL(fcntl(pipes[1], F_SETPIPE_SZ, 70000));
	ERR(fcntl(0x1000, F_GETPIPE_SZ));
	DONE();
}
