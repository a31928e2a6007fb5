// EPOLLET wakes one of several waiting threads for each event, and none without one; EPOLLEXCLUSIVE is taken.
#include "report.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int epoll, woken;

static void *waiter(void *unused)
{
	struct epoll_event event;
	while (epoll_wait(epoll, &event, 1, 5000) == 1) {
		if (event.data.u32 == 9)
			break;
		__atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[3];
	unsigned long one = 1;
	epoll = NEED(epoll_create1(0));
	int fd = NEED(eventfd(0, EFD_NONBLOCK)), stop = NEED(eventfd(0, EFD_NONBLOCK));
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = 1 };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	event = (struct epoll_event){ .events = EPOLLIN, .data.u32 = 9 };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, stop, &event));
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, waiter, NULL);
	for (int i = 1; i <= 5; i++) {
		NEED(write(fd, &one, 8));
		for (int spin = 0; spin < 1000 && __atomic_load_n(&woken, __ATOMIC_SEQ_CST) < i; spin++)
			usleep(200);
	}
	usleep(10000);
	VAL(woken);
	NEED(write(stop, &one, 8));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	VAL(woken);
	event.events = EPOLLIN | EPOLLEXCLUSIVE;
	int other = NEED(epoll_create1(0));
	ERR(epoll_ctl(other, EPOLL_CTL_ADD, fd, &event));
	ERR(epoll_ctl(other, EPOLL_CTL_MOD, fd, &event));
	DONE();
}
