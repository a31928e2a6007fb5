// Raw mode: VMIN and VTIME, echo of control characters, room for input and output, draining and flushing, stopping.
#include "terminal.h"
#include <time.h>

static struct termios t;
static int m, s;

static long long ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set(int min, int time)
{
	t.c_cc[VMIN] = min;
	t.c_cc[VTIME] = time;
	NEED(tcsetattr(s, TCSANOW, &t));
	SAY("VMIN %d VTIME %d", min, time);
}

// Reads `most` bytes and says how many came and whether it took at least a tenth of a second.
static void timed(size_t most)
{
	char bytes[100];
	long long begun = ms();
	ssize_t n = read(s, bytes, most);
	SAY("read %zd, waited %d", n, ms() - begun >= 90);
}

// Writes `first` and `second` to the master from a child, 50 ms apart.
static pid_t writer(const char *first, const char *second)
{
	pid_t child = fork();
	if (child == 0) {
		usleep(50000);
		write(m, first, strlen(first));
		usleep(50000);
		write(m, second, strlen(second));
		_exit(0);
	}
	return child;
}

static int readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	return poll(&p, 1, 20);
}

int main(void)
{
	m = open_master();
	s = open_slave(O_NOCTTY);
	NEED(tcgetattr(s, &t));
	cfmakeraw(&t);

	CASE("VMIN and VTIME");
	set(0, 0);
	timed(10);
	NEED(write(m, "ab", 2));
	settle();
	timed(10);
	set(0, 1);
	timed(10);
	NEED(write(m, "ab", 2));
	timed(10);
	set(3, 0);
	NEED(write(m, "ab", 2));
	VAL(readable(s));
	NEED(write(m, "c", 1));
	VAL(readable(s));
	timed(10);
	NEED(write(m, "de", 2));
	settle();
	timed(2);
	writer("f", "gh");
	timed(10);
	set(5, 4);
	writer("ij", "");
	timed(10);
	writer("klm", "nopq");
	timed(10);
	NEED(write(m, "r", 1));
	VAL(readable(s));
	timed(10);
	NEED(fcntl(s, F_SETFL, O_NONBLOCK));
	NEED(write(m, "st", 2));
	settle();
	timed(10);
	ERR(read(s, t.c_cc, 1));
	set(0, 5);
	ERR(read(s, t.c_cc, 1));
	NEED(fcntl(s, F_SETFL, 0));
	set(1, 0);

	CASE("echo");
	set_flags(s, &t.c_lflag, &t, 0, ECHO | ECHOCTL);
	type(m, "a\001\n\r\t");
	set_flags(s, &t.c_oflag, &t, 0, OPOST | ONLCR);
	type(m, "b\n\r");
	set_flags(s, &t.c_iflag, &t, 0, ICRNL);
	type(m, "c\r\n");
	set_flags(s, &t.c_lflag, &t, ECHOCTL, 0);
	type(m, "d\001\n");
	ERR(tcflush(s, TCIFLUSH));
	VAL(readable(s));
	set_flags(s, &t.c_lflag, &t, ECHO, 0);
	set_flags(s, &t.c_oflag, &t, OPOST, 0);

	CASE("room");
	NEED(fcntl(m, F_SETFL, O_NONBLOCK));
	static char many[70000];
	memset(many, 'x', sizeof many);
	ssize_t sent = write(m, many, sizeof many);
	CHECK(sent >= 8000 && sent < 60000);
	settle();
	ssize_t more = write(m, many, sizeof many);
	CHECK(more == -1 || more < 8000);
	ssize_t got = 0;
	NEED(fcntl(s, F_SETFL, O_NONBLOCK));
	for (ssize_t n; settle(), (n = read(s, many, sizeof many)) > 0; got += n)
		;
	CHECK(got == sent + (more > 0 ? more : 0));
	memset(many, 'x', sizeof many);
	sent = write(s, many, sizeof many);
	CHECK(sent >= 4000 && sent < 60000);
	struct pollfd p = { s, POLLOUT, 0 };
	got = 0;
	for (ssize_t n; settle(), (n = read(m, many, sizeof many)) > 0; got += n)
		;
	CHECK(got >= sent);
	VAL(poll(&p, 1, 0));
	ERR(tcdrain(s));

	CASE("flushing");
	NEED(write(m, "lost", 4));
	settle();
	ERR(tcflush(s, TCIFLUSH));
	ERR(read(s, many, 10));
	NEED(write(s, "kept", 4));
	settle();
	ERR(tcflush(s, TCOFLUSH));
	show(m, "kept", 200, 100);
	NEED(write(s, "lost", 4));
	settle();
	ERR(tcflush(m, TCIFLUSH));
	ERR(read(m, many, 10));
	ERR(tcflush(s, 7));
	NEED(write(m, "lost", 4));
	settle();
	ERR(tcsetattr(s, TCSAFLUSH, &t));
	ERR(read(s, many, 10));

	CASE("stopping");
	set_flags(s, &t.c_iflag, &t, 0, IXON);
	NEED(write(m, "\023", 1));
	settle();
	ERR(write(s, "held", 4));
	VAL(poll(&p, 1, 0));
	NEED(write(m, "\021", 1));
	settle();
	ERR(write(s, "goes", 4));
	show(m, "after ^Q", 200, 100);
	ERR(tcflow(s, TCOOFF));
	ERR(write(s, "held", 4));
	NEED(write(m, "\021", 1));
	settle();
	ERR(write(s, "held", 4));
	ERR(tcflow(s, TCOON));
	ERR(write(s, "goes", 4));
	show(m, "after TCOON", 200, 100);
	ERR(tcflow(s, TCIOFF));
	ERR(tcflow(s, TCION));
	settle();
	show(m, "TCIOFF, TCION", 200, 100);
	ERR(tcflow(s, 9));
	set_flags(s, &t.c_iflag, &t, 0, IXANY);
	NEED(write(m, "\023x", 2));
	settle();
	ERR(write(s, "any key", 7));
	show(m, "IXANY", 200, 100);
	NEED(write(m, "\023", 1));
	settle();
	set_flags(s, &t.c_iflag, &t, IXON, 0);
	ERR(write(s, "no IXON", 7));
	show(m, "no IXON", 200, 100);
	ERR(tcsendbreak(s, 0));
	ERR(tcdrain(m));
	DONE();
}
