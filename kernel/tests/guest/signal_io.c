// Signal-driven I/O: O_ASYNC on pipes and sockets, F_SETOWN, F_SETSIG, and who owns what.
#include "report.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static siginfo_t wait_for(int signal)
{
	sigset_t set;
	siginfo_t info = { 0 };
	struct timespec patience = { 0, 200000000 };
	sigemptyset(&set);
	sigaddset(&set, signal);
	VAL(sigtimedwait(&set, &info, &patience));
	return info;
}

static void pair(const char *what, int reader, int writer)
{
	SAY("%s", what);
	int on = 1;
	char byte;
	VAL(fcntl(reader, F_GETOWN));
	VAL(fcntl(reader, F_SETOWN, getpid()));
	CHECK(fcntl(reader, F_GETOWN) == getpid());
	VAL(fcntl(reader, F_GETSIG));
	VAL(ioctl(reader, FIOASYNC, &on));
	CHECK(fcntl(reader, F_GETFL) & O_ASYNC);
	VAL(write(writer, "x", 1));
	siginfo_t info = wait_for(SIGIO);
	CHECK(info.si_signo == SIGIO);

	VAL(read(reader, &byte, 1));
	while (wait_for(SIGIO).si_signo == SIGIO)
		;
	VAL(fcntl(reader, F_SETSIG, SIGRTMIN + 3));
	VAL(fcntl(reader, F_GETSIG) - SIGRTMIN);
	VAL(write(writer, "y", 1));
	info = wait_for(SIGRTMIN + 3);
	CHECK(info.si_fd == reader);
	VAL(info.si_code == POLL_IN);
	CHECK(info.si_band & 1);

	VAL(fcntl(reader, F_SETFL, fcntl(reader, F_GETFL) & ~O_ASYNC));
	CHECK(!(fcntl(reader, F_GETFL) & O_ASYNC));
	while (wait_for(SIGRTMIN + 3).si_signo != 0)
		;
	VAL(write(writer, "z", 1));
	wait_for(SIGRTMIN + 3);
}

int main(void)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	int p[2], s[2];
	ERR(pipe(p));
	pair("pipe", p[0], p[1]);
	ERR(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	pair("socket", s[0], s[1]);

	struct f_owner_ex owner = { F_OWNER_TID, gettid() };
	ERR(fcntl(p[0], F_SETOWN_EX, &owner));
	owner = (struct f_owner_ex) { 9, 9 };
	ERR(fcntl(p[0], F_GETOWN_EX, &owner));
	CHECK(owner.type == F_OWNER_TID && owner.pid == gettid());
	owner.type = 77;
	ERR(fcntl(p[0], F_SETOWN_EX, &owner));
	ERR(fcntl(p[0], F_SETOWN, -getpgrp()));
	ERR(fcntl(p[0], F_GETOWN_EX, &owner));
	CHECK(owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
	ERR(fcntl(p[0], F_SETOWN, 99999999));
	ERR(fcntl(p[0], F_SETSIG, 65));

	// An owner that has ended is nobody.
	int go[2];
	ERR(pipe(go));
	pid_t child = fork();
	if (child == 0) {
		char c;
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0);
	}
	ERR(fcntl(p[0], F_SETOWN, child));
	CHECK(fcntl(p[0], F_GETOWN) == child);
	close(go[1]);
	ERR(waitpid(child, NULL, 0) == child ? 0 : -1);
	VAL(fcntl(p[0], F_GETOWN));

	// A file that is always ready has nothing to signal.
	int on = 1, file = open("/tmp/file", O_RDWR | O_CREAT, 0600);
	ERR(fcntl(file, F_SETFL, O_ASYNC));
	CHECK(!(fcntl(file, F_GETFL) & O_ASYNC));
	ERR(ioctl(file, FIOASYNC, &on));
	DONE();
}
