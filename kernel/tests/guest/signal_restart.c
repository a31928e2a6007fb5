// SA_RESTART or not, call by call: a handler interrupts read, write, wait, poll, select, sleep, futex, accept, flock.
#include "report.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static volatile int handled;
static int pipes[2], full[2], pair[2], listener, epoll, word;

static void on_alarm(int number)
{
	(void)number;
	handled++;
	// What a restarted call waits for comes with the second alarm.
	if (handled == 2) {
		char text[4096];
		int fd;
		(void)!write(pipes[1], "x", 1);
		(void)!write(pair[1], "x", 1);
		while (read(full[0], text, sizeof(text)) > 0)
			;
		word = 1;
		syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		struct sockaddr_in address;
		socklen_t length = sizeof(address);
		getsockname(listener, (struct sockaddr *)&address, &length);
		connect(fd, (struct sockaddr *)&address, length);
	}
}

static long call(int which)
{
	char byte;
	struct pollfd entry = { pipes[0], POLLIN, 0 };
	struct timespec second = { 0, 150000000 };
	struct timeval limit = { 0, 150000 };
	struct epoll_event event;
	fd_set set;
	switch (which) {
	case 0: return read(pipes[0], &byte, 1);
	case 1: return write(full[1], &byte, 1);
	case 2: return recv(pair[0], &byte, 1, 0);
	case 3: return accept(listener, NULL, NULL) >= 0 ? 1 : -1;
	case 4: return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
	case 5: return poll(&entry, 1, -1);
	case 6: FD_ZERO(&set); FD_SET(pipes[0], &set); return select(pipes[0] + 1, &set, NULL, NULL, NULL);
	case 7: return epoll_wait(epoll, &event, 1, -1);
	case 8: return nanosleep(&second, NULL);
	case 9: errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &second, NULL); return errno ? -1 : 0;
	case 10: return pause();
	case 11: return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &second, NULL, 0);
	case 12: FD_ZERO(&set); FD_SET(pipes[0], &set); return select(pipes[0] + 1, &set, NULL, NULL, &limit);
	default: return poll(&entry, 1, 150);
	}
}

static const char *names[] = { "read", "write", "recv", "accept", "futex", "poll", "select", "epoll_wait", "nanosleep",
			       "clock_nanosleep", "pause", "futex with timeout", "select with timeout", "poll with timeout" };

int main(void)
{
	char text[4096] = "";
	NEED(pipe2(pipes, 0));
	NEED(pipe2(full, 0));
	NEED(fcntl(full[0], F_SETFL, O_NONBLOCK));
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(listen(listener, 5));
	epoll = NEED(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event));

	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = on_alarm, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGALRM, &action, NULL);
		CASE(restart ? "SA_RESTART" : "no SA_RESTART");
		for (unsigned which = 0; which < sizeof(names) / sizeof(names[0]); which++) {
			NEED(fcntl(full[1], F_SETFL, O_NONBLOCK));
			while (write(full[1], text, sizeof(text)) > 0)
				;
			NEED(fcntl(full[1], F_SETFL, 0));
			word = 0;
			handled = 0;
			struct itimerval twice = { { 0, 25000 }, { 0, 25000 } }, off = { { 0, 0 }, { 0, 0 } };
			setitimer(ITIMER_REAL, &twice, NULL);
			errno = 0;
			long result = call(which);
			int error = errno;
			int times = handled;
			setitimer(ITIMER_REAL, &off, NULL);
			SAY("%s: %s, went on after the first signal %d", names[which], result == -1 ? errno_name(error) : "done",
			    times > 1);
			// Leaves nothing for the next call.
			NEED(fcntl(pipes[0], F_SETFL, O_NONBLOCK));
			NEED(fcntl(pair[0], F_SETFL, O_NONBLOCK));
			NEED(fcntl(listener, F_SETFL, O_NONBLOCK));
			while (read(pipes[0], text, 100) > 0 || read(pair[0], text, 100) > 0)
				;
			while (accept(listener, NULL, NULL) >= 0)
				;
			NEED(fcntl(pipes[0], F_SETFL, 0));
			NEED(fcntl(pair[0], F_SETFL, 0));
			NEED(fcntl(listener, F_SETFL, 0));
		}
	}
	DONE();
}
