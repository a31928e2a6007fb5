// struct termio, the settings of System V: 16-bit flags and eight characters, beside what it cannot say.
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static void show(int fd)
{
	struct termio old;
	struct termios new;
	ERR(ioctl(fd, TCGETA, &old));
	ERR(tcgetattr(fd, &new));
	SAY("termio %x %x %x %x line %d: %d %d %d %d", old.c_iflag, old.c_oflag, old.c_cflag, old.c_lflag, old.c_line,
	    old.c_cc[VINTR], old.c_cc[VEOF], old.c_cc[VTIME], old.c_cc[VMIN]);
	SAY("termios %x %x %x %x: %d %d", new.c_iflag, new.c_oflag, new.c_cflag, new.c_lflag, new.c_cc[VSTART],
	    new.c_cc[VSUSP]);
}

int main(void)
{
	int master = NEED(open("/dev/ptmx", O_RDWR | O_NOCTTY)), number, unlock = 0;
	char name[32];
	NEED(ioctl(master, TIOCGPTN, &number));
	NEED(ioctl(master, TIOCSPTLCK, &unlock));
	snprintf(name, sizeof name, "/dev/pts/%d", number);
	int fd = NEED(open(name, O_RDWR | O_NOCTTY));
	struct termio old;
	show(fd);
	NEED(ioctl(fd, TCGETA, &old));
	old.c_lflag &= ~(ICANON | ECHO);
	old.c_iflag = IGNBRK;
	old.c_cc[VINTR] = 1;
	old.c_cc[VMIN] = 5;
	ERR(ioctl(fd, TCSETA, &old));
	show(fd);
	old.c_lflag |= ICANON;
	ERR(ioctl(fd, TCSETAW, &old));
	ERR(ioctl(fd, TCSETAF, &old));
	show(fd);
	int pipes[2];
	NEED(pipe(pipes));
	ERR(ioctl(pipes[0], TCGETA, &old));
	DONE();
}
