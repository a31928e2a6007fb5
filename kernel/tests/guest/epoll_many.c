// 300 descriptors in one epoll: all ready ones are reported, also when fewer events are asked for at a time.
#include "report.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define COUNT 300

int main(void)
{
	static struct epoll_event events[COUNT];
	int fds[COUNT], seen[COUNT] = { 0 };
	unsigned long one = 1;
	int epoll = NEED(epoll_create1(0));
	for (int i = 0; i < COUNT; i++) {
		fds[i] = NEED(eventfd(0, EFD_NONBLOCK));
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
		NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event));
	}
	VAL(epoll_wait(epoll, events, COUNT, 0));
	for (int i = 0; i < COUNT; i += 3)
		NEED(write(fds[i], &one, 8));
	VAL(epoll_wait(epoll, events, COUNT, 0));
	CASE("seven at a time, in turn");
	int distinct = 0;
	for (int round = 0; round < 15; round++) {
		int count = epoll_wait(epoll, events, 7, 0);
		for (int i = 0; i < count; i++)
			distinct += !seen[events[i].data.u32]++;
	}
	VAL(distinct);
	CASE("drained");
	for (int i = 0; i < COUNT; i += 3)
		NEED(read(fds[i], &one, 8));
	VAL(epoll_wait(epoll, events, COUNT, 0));
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	VAL(epoll_wait(epoll, events, COUNT, 10));
	DONE();
}
