// Pseudo-terminals: numbers and locks, data both ways, sizes, what the master sees when slaves come and go, device files.
#include "terminal.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

int main(void)
{
	CASE("opening");
	int m = NEED(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
	int index = -1, locked = -1;
	ERR(ioctl(m, TIOCGPTN, &index));
	snprintf(pair_name, sizeof pair_name, "/dev/pts/%d", index);
	ERR(ioctl(m, TIOCGPTLCK, &locked));
	VAL(locked);
	ERR(open(pair_name, O_RDWR | O_NOCTTY));
	ERR(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	ERR(grantpt(m));
	ERR(unlockpt(m));
	ERR(ioctl(m, TIOCGPTLCK, &locked));
	VAL(locked);
	CHECK(strcmp(ptsname(m), pair_name) == 0);
	char byte;
	ERR(read(m, &byte, 1));
	ERR(read(m, &byte, 0));
	struct pollfd p = { m, POLLIN | POLLOUT, 0 };
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	ERR(write(m, "early\n", 6));
	int s = open_slave(O_NOCTTY);
	CHECK(isatty(s) && isatty(m));
	char *tty = ttyname(s);
	CHECK(tty && strcmp(tty, pair_name) == 0);
	ERR(lseek(s, 0, SEEK_CUR));
	ERR(lseek(m, 0, SEEK_CUR));
	show(s, "early", 200, 300);
	show(m, "its echo", 200, 300);

	CASE("device files");
	struct stat st, st2;
	struct statfs fs;
	unsigned dev = 0;
	ERR(fstat(s, &st));
	CHECK(S_ISCHR(st.st_mode));
	VAL(st.st_mode & 07777);
	VAL(major(st.st_rdev));
	CHECK((int)minor(st.st_rdev) == index);
	VAL(st.st_uid);
	VAL(st.st_gid);
	ERR(ioctl(s, TIOCGDEV, &dev));
	CHECK(dev == st.st_rdev);
	ERR(stat(pair_name, &st2));
	CHECK(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
	ERR(statfs(pair_name, &fs));
	VAL(fs.f_type);
	ERR(mkdir("/dev/pts/x", 0700));
	ERR(open("/dev/pts/new", O_RDWR | O_CREAT, 0600));
	ERR(unlink(pair_name));
	ERR(rename(pair_name, "/dev/pts/new"));
	ERR(chmod(pair_name, 0600));
	ERR(open("/dev/pts/99", O_RDWR));

	CASE("data");
	type(m, "ab\177c\n");
	show(s, "line", 200, 300);
	VAL(write(s, "x\n", 2));
	show(m, "output", 200, 300);
	struct termios raw;
	ERR(tcgetattr(m, &raw));
	cfmakeraw(&raw);
	ERR(tcsetattr(s, TCSANOW, &raw));
	VAL(write(m, "\3\n", 2));
	show(s, "raw", 200, 300);
	ERR(read(m, &byte, 1));
	VAL(write(s, "0123456789", 10));
	int waiting = -1;
	usleep(3000);
	ERR(ioctl(m, FIONREAD, &waiting));
	VAL(waiting);
	show(m, "part", 4, 300);
	show(m, "rest", 200, 300);
	void *volatile nowhere = (void *)8;
	ERR(write(s, nowhere, 5));
	ERR(write(m, nowhere, 5));
	VAL(write(m, "bytes", 5));
	usleep(3000);
	ERR(read(s, nowhere, 5));
	ERR(tcflush(s, TCIFLUSH));

	CASE("size");
	struct winsize size = { 7, 7, 7, 7 };
	ERR(ioctl(s, TIOCGWINSZ, &size));
	VAL(size.ws_row + size.ws_col + size.ws_xpixel + size.ws_ypixel);
	size = (struct winsize) { 33, 99, 5, 6 };
	ERR(ioctl(m, TIOCSWINSZ, &size));
	size.ws_row = 0;
	ERR(ioctl(s, TIOCGWINSZ, &size));
	VAL(size.ws_row * 1000 + size.ws_col);
	ERR(ioctl(s, TIOCSWINSZ, nowhere));

	CASE("other calls");
	int number = -1;
	ERR(ioctl(s, TIOCGETD, &number));
	VAL(number);
	ERR(ioctl(s, TIOCSETD, &number));
	ERR(ioctl(s, TIOCMGET, &number));
	ERR(ioctl(s, TIOCGPTN, &number));
	ERR(ioctl(m, TIOCSIG, SIGUSR1));
	ERR(ioctl(s, 0x1234, &number));
	ERR(ioctl(m, TIOCNOTTY));

	CASE("the last slave closes");
	int peer = NEED(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	tty = ttyname(peer);
	CHECK(tty && strcmp(tty, pair_name) == 0);
	close(s);
	ERR(read(m, &byte, 1));
	VAL(write(peer, "last", 4));
	close(peer);
	usleep(3000);
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	show(m, "rest", 200, 300);
	show(m, "end", 200, 300);
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	ERR(write(m, "kept", 4));
	s = open_slave(O_NOCTTY);
	ERR(read(m, &byte, 1));
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	show(s, "kept", 200, 300);

	CASE("two at once");
	int m2 = open_master();
	int s2 = open_slave(O_NOCTTY);
	VAL(write(m2, "two\n", 4));
	VAL(write(m, "one", 3));
	show(s2, "two", 200, 300);
	show(s, "one", 200, 300);
	DONE();
}
