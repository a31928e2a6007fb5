// epoll(7) on a datagram socket whose receiver's queue is full: the receiver's reading makes it writable.
#include "report.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

static void drain(int receiver)
{
	char bytes[16];
	while (recv(receiver, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

int main(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/tmp/receiver" };
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	int epoll = NEED(epoll_create1(0));

	alarm(20);
	int receiver = NEED(socket(AF_UNIX, SOCK_DGRAM, 0)), sender = NEED(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
	NEED(bind(receiver, (struct sockaddr *)&name, sizeof(name)));
	CASE("registered before it is connected");
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, sender, &event));
	VAL(epoll_wait(epoll, &event, 1, 0));
	NEED(connect(sender, (struct sockaddr *)&name, sizeof(name)));
	for (int round = 0; round < 2; round++) {
		int sent = 0;
		while (send(sender, "x", 1, 0) == 1)
			sent++;
		CHECK(errno == EAGAIN && sent > 5);
		while (epoll_wait(epoll, &event, 1, 0) > 0)
			;
		drain(receiver);
		VAL(epoll_wait(epoll, &event, 1, 2000));
		CHECK(event.events & EPOLLOUT);
	}
	DONE();
}
