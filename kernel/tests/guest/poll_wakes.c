// A thread in poll, select or epoll_wait wakes when another thread makes the descriptor ready.
#include "report.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

static int pipes[2];

static void *later(void *unused)
{
	struct timespec pause = { 0, 15000000 };
	nanosleep(&pause, NULL);
	NEED(write(pipes[1], "x", 1));
	return unused;
}

int main(void)
{
	pthread_t thread;
	char byte;
	NEED(pipe(pipes));
	pthread_create(&thread, NULL, later, NULL);
	struct pollfd entry = { pipes[0], POLLIN, 0 };
	VAL(poll(&entry, 1, -1));
	VAL(entry.revents);
	pthread_join(thread, NULL);
	NEED(read(pipes[0], &byte, 1));

	pthread_create(&thread, NULL, later, NULL);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	VAL(select(pipes[0] + 1, &set, NULL, NULL, NULL));
	VAL(FD_ISSET(pipes[0], &set) != 0);
	pthread_join(thread, NULL);
	NEED(read(pipes[0], &byte, 1));

	int epoll = NEED(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 123456789012345 };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event));
	pthread_create(&thread, NULL, later, NULL);
	event.data.u64 = 0;
	VAL(epoll_wait(epoll, &event, 1, 5000));
	VAL(event.data.u64);
	pthread_join(thread, NULL);
	DONE();
}
