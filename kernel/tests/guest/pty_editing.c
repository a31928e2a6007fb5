// The line discipline in canonical mode: erasing, killing, quoting, ends of file and of line, echo and its flags.
#include "terminal.h"

int main(void)
{
	int m = open_master(), s = open_slave(O_NOCTTY);
	struct termios t;

	CASE("defaults");
	ERR(tcgetattr(s, &t));
	VAL(t.c_iflag);
	VAL(t.c_oflag);
	VAL(t.c_cflag);
	VAL(t.c_lflag);
	for (int i = 0; i < 19; i++)
		VAL(t.c_cc[i]);
	VAL(cfgetispeed(&t) == B38400 && cfgetospeed(&t) == B38400);

	CASE("lines");
	type(m, "one\rtwo\nthr");
	int waiting = -1;
	ERR(ioctl(s, FIONREAD, &waiting));
	VAL(waiting);
	show(s, "line", 200, 100);
	show(s, "part", 2, 100);
	show(s, "rest", 200, 100);
	type(m, "ee\n");
	show(s, "line", 200, 100);

	CASE("erasing");
	type(m, "abc\177\177\n");
	show(s, "line", 200, 100);
	type(m, "\177\177x\n");
	show(s, "line", 200, 100);
	type(m, "some wo_rds, and  \027\027!\n");
	show(s, "line", 200, 100);
	type(m, "wrong\025right\n");
	show(s, "line", 200, 100);
	type(m, "a\tb\001\177\177\177\n");
	show(s, "line", 200, 100);
	type(m, "x\026\177\026\003\n");
	show(s, "line", 200, 100);
	type(m, "again\022\n");
	show(s, "line", 200, 100);

	CASE("ends of file");
	type(m, "half\004");
	show(s, "half", 200, 100);
	type(m, "exact\004");
	show(s, "exact", 5, 100);
	show(s, "then", 5, 50);
	NEED(write(m, "\004", 1));
	show(s, "end", 200, 100);
	NEED(write(m, "z\004\004", 3));
	show(s, "z", 200, 100);
	show(s, "end", 200, 100);
	show(m, "echo", 200, 100);

	CASE("flags");
	set_flags(s, &t.c_lflag, &t, ECHOE, 0);
	type(m, "ab\177\027\n");
	show(s, "no ECHOE", 200, 100);
	set_flags(s, &t.c_lflag, &t, ECHOKE, ECHOE);
	type(m, "ab\025c\n");
	show(s, "no ECHOKE", 200, 100);
	set_flags(s, &t.c_lflag, &t, ECHOCTL, 0);
	type(m, "a\001\177\177\n");
	show(s, "no ECHOCTL", 200, 100);
	set_flags(s, &t.c_lflag, &t, ECHO, ECHOCTL | ECHOKE | ECHONL);
	type(m, "hidden\177\n");
	show(s, "ECHONL", 200, 100);
	set_flags(s, &t.c_lflag, &t, ECHONL, ECHO);
	set_flags(s, &t.c_iflag, &t, ICRNL, INLCR);
	type(m, "a\nb\r\n");
	NEED(write(m, "\004", 1));
	show(s, "INLCR", 200, 100);
	set_flags(s, &t.c_iflag, &t, INLCR, ICRNL | IGNCR | ISTRIP);
	type(m, "a\rb\xe1\n");
	show(s, "IGNCR ISTRIP", 200, 100);
	set_flags(s, &t.c_iflag, &t, IGNCR | ISTRIP, IUTF8);
	type(m, "\xc3\xa4\xe2\x82\xac\177\177\n");
	show(s, "IUTF8", 200, 100);
	t.c_cc[VEOL] = ';';
	set_flags(s, &t.c_iflag, &t, IUTF8, 0);
	type(m, "a;b\n");
	show(s, "VEOL", 200, 100);
	show(s, "next", 200, 100);

	CASE("output");
	NEED(write(s, "a\nb\tc\r\n", 7));
	show(m, "ONLCR", 200, 100);
	set_flags(s, &t.c_oflag, &t, ONLCR, TAB3);
	NEED(write(s, "ab\tc\010\td\n", 9));
	show(m, "TAB3", 200, 100);
	set_flags(s, &t.c_oflag, &t, TABDLY, OCRNL | OLCUC);
	NEED(write(s, "x\ry\n", 4));
	show(m, "OCRNL OLCUC", 200, 100);
	set_flags(s, &t.c_oflag, &t, OCRNL | OLCUC, ONOCR);
	NEED(write(s, "\r\ra\r\r", 5));
	show(m, "ONOCR", 200, 100);
	set_flags(s, &t.c_oflag, &t, OPOST, 0);
	NEED(write(s, "\r\n\n", 3));
	show(m, "raw", 200, 100);

	CASE("a line that is too long");
	t.c_oflag |= OPOST | ONLCR;
	set_flags(s, &t.c_lflag, &t, ECHO, 0);
	char many[1000];
	memset(many, 'y', sizeof many);
	for (int i = 0; i < 5; i++)
		NEED(write(m, many, sizeof many));
	NEED(write(m, "end\n", 4));
	usleep(5000);
	static char line[9000];
	ssize_t n = NEED(read(s, line, sizeof line));
	VAL(n);
	VAL(line[n - 1]);
	VAL(line[n - 2]);

	CASE("modes change");
	NEED(write(m, "typed", 5));
	usleep(3000);
	set_flags(s, &t.c_lflag, &t, ICANON, 0);
	show(s, "becomes readable", 200, 100);
	NEED(write(m, "more\n", 5));
	usleep(3000);
	set_flags(s, &t.c_lflag, &t, 0, ICANON);
	show(s, "stays readable", 200, 100);
	t.c_cflag = (t.c_cflag & ~CSIZE) | CS7 | PARENB;
	ERR(tcsetattr(s, TCSANOW, &t));
	ERR(tcgetattr(s, &t));
	CHECK((t.c_cflag & (CSIZE | PARENB)) == CS8);
	cfsetspeed(&t, B9600);
	ERR(tcsetattr(s, TCSANOW, &t));
	ERR(tcgetattr(m, &t));
	CHECK(cfgetospeed(&t) == B9600);
	DONE();
}
