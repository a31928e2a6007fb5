// shutdown(2) of a listener: a thread in accept(2) ends, poll(2) tells, and the port stays with the socket.
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

static int listener;

static void *accepting(void *unused)
{
	ERR(accept(listener, NULL, NULL));
	return unused;
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, named;
	socklen_t length = sizeof(named);
	pthread_t thread;

	alarm(20);
	address.sin_port = htons(7211);
	listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	NEED(listen(listener, 4));
	CASE("a waiting accept ends");
	RET(pthread_create(&thread, NULL, accepting, NULL));
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	ERR(shutdown(listener, SHUT_RDWR));
	RET(pthread_join(thread, NULL));
	CASE("what is left of it");
	struct pollfd polled = { .fd = listener, .events = POLLIN | POLLOUT };
	VAL(poll(&polled, 1, 0));
	CHECK(polled.revents & POLLHUP);
	ERR(getsockname(listener, (struct sockaddr *)&named, &length));
	CHECK(named.sin_port == address.sin_port);
	int client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(client, (struct sockaddr *)&address, sizeof(address)));
	CASE("it can listen again");
	ERR(listen(listener, 4));
	client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(client, (struct sockaddr *)&address, sizeof(address)));
	CHECK(accept(listener, NULL, NULL) >= 0);
	CASE("writing alone is not shut");
	ERR(shutdown(listener, SHUT_WR));
	DONE();
}
