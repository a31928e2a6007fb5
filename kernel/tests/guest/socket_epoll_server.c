// One thread serves forty TCP clients through epoll, edge triggered and non-blocking.
#include "report.h"
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CLIENTS 40
#define ROUNDS 20

static struct sockaddr_in address = { .sin_family = AF_INET };
static int wrong, finished;

static void *client(void *argument)
{
	char text[1000], back[1000];
	int fd = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	for (int i = 0; i < ROUNDS; i++) {
		int size = 1 + ((long)argument * 131 + i * 97) % 999;
		memset(text, 'a' + i, size);
		NEED(send(fd, text, size, 0));
		if (recv(fd, back, size, MSG_WAITALL) != size || memcmp(text, back, size) != 0)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	}
	close(fd);
	__atomic_fetch_add(&finished, 1, __ATOMIC_RELAXED);
	return NULL;
}

int main(void)
{
	static pthread_t threads[CLIENTS];
	socklen_t length = sizeof(address);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int listener = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	NEED(bind(listener, (struct sockaddr *)&address, length));
	NEED(listen(listener, CLIENTS));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	int epoll = NEED(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
	for (long i = 0; i < CLIENTS; i++)
		pthread_create(&threads[i], NULL, client, (void *)i);
	int accepted = 0, closed = 0;
	while (closed < CLIENTS) {
		struct epoll_event events[16];
		int count = epoll_wait(epoll, events, 16, 5000);
		if (count <= 0)
			break;
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
					event = (struct epoll_event){ .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd };
					NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
					accepted++;
				}
				continue;
			}
			char text[300];
			long got;
			while ((got = read(fd, text, sizeof(text))) > 0)
				NEED(write(fd, text, got));
			if (got == 0) {
				close(fd);
				closed++;
			}
		}
	}
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	SAY("accepted %d closed %d finished %d wrong %d", accepted, closed, finished, wrong);
	DONE();
}
