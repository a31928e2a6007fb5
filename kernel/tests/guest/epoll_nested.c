// An epoll inside an epoll reports what is ready below it; loops are refused; duplicates keep entries alive.
#include "report.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int add(int epoll, int fd, unsigned data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = data };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(void)
{
	struct epoll_event event;
	int inner = NEED(epoll_create1(0)), outer = NEED(epoll_create1(0));
	int fd = NEED(eventfd(0, EFD_NONBLOCK));
	unsigned long value = 1;
	ERR(add(inner, fd, 1));
	ERR(add(outer, inner, 2));
	ERR(add(inner, outer, 3));
	VAL(epoll_wait(outer, &event, 1, 0));
	NEED(write(fd, &value, 8));
	VAL(epoll_wait(outer, &event, 1, 0));
	VAL(event.data.u32);
	struct pollfd entry = { outer, POLLIN, 0 };
	VAL(poll(&entry, 1, 0));
	VAL(epoll_wait(inner, &event, 1, 0));
	VAL(event.data.u32);
	NEED(read(fd, &value, 8));
	VAL(epoll_wait(outer, &event, 1, 0));
	CASE("a duplicate keeps the entry");
	int copy = NEED(dup(fd));
	close(fd);
	value = 1;
	NEED(write(copy, &value, 8));
	VAL(epoll_wait(inner, &event, 1, 0));
	close(copy);
	VAL(epoll_wait(inner, &event, 1, 0));
	CASE("the number is free for another file");
	int other = NEED(eventfd(1, 0));
	CHECK(other == fd);
	VAL(epoll_wait(inner, &event, 1, 0));
	ERR(add(inner, other, 9));
	VAL(epoll_wait(inner, &event, 1, 0));
	VAL(event.data.u32);
	DONE();
}
