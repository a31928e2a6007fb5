// poll on pipes: readable, writable, hung up, error, bad descriptors, negative ones, timeouts.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

static void look(const char *what, int fd, short events)
{
	struct pollfd entry = { fd, events, 0x7777 };
	int count = poll(&entry, 1, 0);
	SAY("%s: %d%s%s%s%s%s", what, count, entry.revents & POLLIN ? " IN" : "", entry.revents & POLLOUT ? " OUT" : "",
	    entry.revents & POLLHUP ? " HUP" : "", entry.revents & POLLERR ? " ERR" : "",
	    entry.revents & POLLNVAL ? " NVAL" : "");
}

int main(void)
{
	int pipes[2];
	char text[4096];
	NEED(pipe2(pipes, O_NONBLOCK));
	look("empty, read side", pipes[0], POLLIN);
	look("empty, write side", pipes[1], POLLOUT);
	look("write side for reading", pipes[1], POLLIN);
	NEED(write(pipes[1], "x", 1));
	look("one byte", pipes[0], POLLIN);
	look("one byte, nothing asked", pipes[0], 0);
	while (write(pipes[1], text, sizeof(text)) > 0)
		;
	look("full", pipes[1], POLLOUT);
	close(pipes[1]);
	look("writer gone, data left", pipes[0], POLLIN);
	while (read(pipes[0], text, sizeof(text)) > 0)
		;
	look("writer gone", pipes[0], POLLIN);
	look("closed", pipes[1], POLLIN);
	look("negative", -5, POLLIN);
	NEED(pipe(pipes));
	close(pipes[0]);
	look("reader gone", pipes[1], POLLOUT);
	int file = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	look("file", file, POLLIN | POLLOUT);
	look("null", NEED(open("/dev/null", O_RDWR)), POLLIN | POLLOUT);

	CASE("several");
	NEED(pipe(pipes));
	struct pollfd three[3] = { { pipes[0], POLLIN, 0 }, { pipes[1], POLLOUT, 0 }, { 99, POLLIN, 0 } };
	VAL(poll(three, 3, -1));
	SAY("%x %x %x", three[0].revents, three[1].revents, three[2].revents);
	CASE("timeout");
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	VAL(poll(three, 1, 30));
	clock_gettime(CLOCK_MONOTONIC, &end);
	long milliseconds = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
	CHECK(milliseconds >= 29 && milliseconds < 1000);
	VAL(poll(NULL, 0, 0));
	ERR(syscall(SYS_poll, three, 100000, 0));
	DONE();
}
