// ppoll, pselect and epoll_pwait swap the signal mask for the wait only; a pending signal ends it with EINTR.
#include "report.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

static volatile int seen;

static void on_signal(int number)
{
	seen = number;
}

static int blocked(void)
{
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, SIGUSR1);
}

int main(void)
{
	sigset_t usr1, none;
	int pipes[2];
	struct timespec zero = { 0, 0 }, soon = { 0, 20000000 };
	NEED(pipe(pipes));
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	signal(SIGUSR1, on_signal);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	struct pollfd entry = { pipes[0], POLLIN, 0 };

	CASE("pending and unblocked during the wait");
	raise(SIGUSR1);
	VAL(seen);
	ERR(ppoll(&entry, 1, NULL, &none));
	SAY("%s blocked %d", signal_name(seen), blocked());
	seen = 0;
	raise(SIGUSR1);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	ERR(pselect(pipes[0] + 1, &set, NULL, NULL, NULL, &none));
	SAY("%s blocked %d", signal_name(seen), blocked());
	seen = 0;
	raise(SIGUSR1);
	int epoll = NEED(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event));
	ERR(epoll_pwait(epoll, &event, 1, -1, &none));
	SAY("%s blocked %d", signal_name(seen), blocked());

	CASE("blocked during the wait");
	seen = 0;
	raise(SIGUSR1);
	VAL(ppoll(&entry, 1, &soon, &usr1));
	VAL(seen);
	VAL(ppoll(&entry, 1, &soon, NULL));
	VAL(seen);
	CASE("timeouts");
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	SAY("%s", signal_name(seen));
	VAL(ppoll(&entry, 1, &zero, NULL));
	VAL(ppoll(NULL, 0, &soon, NULL));
	struct timespec bad = { 0, 1000000000 };
	ERR(ppoll(&entry, 1, &bad, NULL));
	DONE();
}
