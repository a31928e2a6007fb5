// A pseudo-terminal pair for a guest program, and its bytes in a form that can be compared.
#pragma once

#include "report.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static char pair_name[40];

// Opens a master and unlocks its slave, whose name is then in `pair_name`.
__attribute__((unused)) static int open_master(void)
{
	int master = NEED(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	int index = -1, unlocked = 0;
	NEED(ioctl(master, TIOCGPTN, &index));
	NEED(ioctl(master, TIOCSPTLCK, &unlocked));
	snprintf(pair_name, sizeof pair_name, "/dev/pts/%d", index);
	return master;
}

__attribute__((unused)) static int open_slave(int flags)
{
	return NEED(open(pair_name, O_RDWR | flags));
}

// Waits until there is something to read and shows it, control characters in octal; "nothing" after `ms` milliseconds.
__attribute__((unused)) static ssize_t show(int fd, const char *who, size_t most, int ms)
{
	char bytes[256], text[1000];
	struct pollfd ready = { fd, POLLIN, 0 };
	if (poll(&ready, 1, ms) == 0) {
		SAY("%s: nothing", who);
		return 0;
	}
	ssize_t n = read(fd, bytes, most < sizeof bytes ? most : sizeof bytes);
	if (n < 0) {
		SAY("%s: %s", who, errno_name(errno));
		return n;
	}
	size_t at = 0;
	for (ssize_t i = 0; i < n && at < sizeof text - 8; i++)
		at += sprintf(text + at, bytes[i] < 32 || bytes[i] == 127 ? "\\%o" : "%c", (unsigned char)bytes[i]);
	text[at] = 0;
	SAY("%s: %zd [%s]", who, n, text);
	return n;
}

// Sends a string to the master and shows what comes back.
__attribute__((unused)) static void type(int master, const char *keys)
{
	NEED(write(master, keys, strlen(keys)));
	usleep(3000);
	show(master, "echo", 200, 300);
}

// Changes flags: those of `off` go, those of `on` come.
__attribute__((unused)) static void set_flags(int fd, tcflag_t *field, struct termios *t, tcflag_t off, tcflag_t on)
{
	*field = (*field & ~off) | on;
	NEED(tcsetattr(fd, TCSANOW, t));
}
