// Bytes through a pipe in order, end of file after the last writer, FIONREAD, short reads.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/ioctl.h>

int main(void)
{
	int pipes[2], waiting;
	char text[32];
	NEED(pipe(pipes));
	VAL(write(pipes[1], "hello world", 11));
	NEED(ioctl(pipes[0], FIONREAD, &waiting));
	VAL(waiting);
	VAL(read(pipes[0], text, 5));
	SAY("%.5s", text);
	NEED(ioctl(pipes[0], FIONREAD, &waiting));
	VAL(waiting);
	VAL(write(pipes[1], "!", 1));
	VAL(read(pipes[0], text, 32));
	SAY("%.7s", text);
	VAL(write(pipes[1], "", 0));
	int copy = NEED(dup(pipes[1]));
	close(pipes[1]);
	VAL(write(copy, "last", 4));
	close(copy);
	VAL(read(pipes[0], text, 32));
	VAL(read(pipes[0], text, 32));
	VAL(read(pipes[0], text, 32));
	CASE("wrong ends");
	NEED(pipe(pipes));
	ERR(read(pipes[1], text, 1));
	ERR(write(pipes[0], text, 1));
	CASE("pipe2");
	NEED(pipe2(pipes, O_NONBLOCK | O_CLOEXEC));
	VAL(fcntl(pipes[0], F_GETFD));
	VAL(fcntl(pipes[1], F_GETFD));
	ERR(read(pipes[0], text, 1));
	ERR(pipe2(pipes, 0x10));
	DONE();
}
