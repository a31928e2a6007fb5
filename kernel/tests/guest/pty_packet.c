// Packet mode (TIOCPKT): the byte in front of the data, what is told of flushes, stops and flow control keys.
#include "terminal.h"

int main(void)
{
	int m = open_master(), s = open_slave(O_NOCTTY), on = 1;
	struct termios t;
	struct pollfd p = { m, POLLIN | POLLPRI, 0 };

	CASE("data");
	ERR(ioctl(s, TIOCPKT, &on));
	ERR(ioctl(m, TIOCPKT, &on));
	on = 9;
	ERR(ioctl(m, TIOCGPKT, &on));
	VAL(on);
	NEED(tcgetattr(s, &t));
	NEED(write(s, "hello", 5));
	show(m, "packet", 3, 100);
	show(m, "packet", 200, 100);

	CASE("flow control");
	NEED(write(m, "\023", 1));
	usleep(3000);
	VAL(poll(&p, 1, 100));
	VAL(p.revents);
	show(m, "stop", 200, 100);
	NEED(write(m, "\021", 1));
	usleep(3000);
	show(m, "start", 200, 100);
	set_flags(s, &t.c_iflag, &t, IXON, 0);
	show(m, "no IXON", 200, 100);
	set_flags(s, &t.c_iflag, &t, 0, IXON);
	show(m, "IXON", 200, 100);
	t.c_cc[VSTOP] = 1;
	NEED(tcsetattr(s, TCSANOW, &t));
	show(m, "another key", 200, 100);

	CASE("flushes");
	ERR(tcflush(s, TCIFLUSH));
	show(m, "input", 200, 100);
	ERR(tcflush(s, TCOFLUSH));
	show(m, "output", 200, 100);
	ERR(tcflush(s, TCIOFLUSH));
	show(m, "both", 200, 100);
	NEED(write(s, "x", 1));
	ERR(tcflush(s, TCIFLUSH));
	show(m, "news first", 200, 100);
	show(m, "then data", 200, 100);
	NEED(write(m, "\003", 1));
	usleep(3000);
	show(m, "^C", 200, 100);
	show(m, "echo", 200, 100);

	CASE("off");
	on = 0;
	ERR(ioctl(m, TIOCPKT, &on));
	NEED(write(s, "plain", 5));
	show(m, "plain", 200, 100);
	DONE();
}
