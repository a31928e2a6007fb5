// signalfd: blocked signals are read with sender and value, several at once, in order of number; poll sees them.
#include "report.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>

int main(void)
{
	sigset_t mask;
	struct signalfd_siginfo info[4];
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	int fd = NEED(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
	struct pollfd entry = { fd, POLLIN, 0 };
	ERR(read(fd, info, sizeof(info)));
	VAL(poll(&entry, 1, 0));
	NEED(kill(getpid(), SIGUSR2));
	NEED(kill(getpid(), SIGUSR1));
	NEED(kill(getpid(), SIGUSR1));
	sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 77 });
	VAL(poll(&entry, 1, 0));
	long got = read(fd, info, sizeof(info));
	VAL(got / (long)sizeof(info[0]));
	for (int i = 0; i < got / (long)sizeof(info[0]); i++)
		SAY("%s from self %d code %d value %d", signal_name(info[i].ssi_signo), info[i].ssi_pid == (unsigned)getpid(),
		    info[i].ssi_code, info[i].ssi_int);
	ERR(read(fd, info, sizeof(info)));
	ERR(read(fd, info, 10));
	CASE("mask changed");
	sigdelset(&mask, SIGUSR1);
	VAL(signalfd(fd, &mask, 0) == fd);
	NEED(kill(getpid(), SIGUSR1));
	VAL(poll(&entry, 1, 0));
	struct timespec zero = { 0, 0 };
	sigaddset(&mask, SIGUSR1);
	VAL(sigtimedwait(&mask, NULL, &zero) == SIGUSR1);
	ERR(signalfd(0x500, &mask, 0));
	ERR(signalfd(-1, &mask, 0x1));
	DONE();
}
