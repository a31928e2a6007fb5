// An error that comes after some bytes have moved ends the call with their number, and is told by the next one.
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static int server;

static void pair(int *client)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	NEED(listen(listener, 1));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	*client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(*client, (struct sockaddr *)&address, sizeof(address)));
	server = NEED(accept(listener, NULL, NULL));
	close(listener);
}

static void *resets(void *unused)
{
	struct linger now = { .l_onoff = 1 };
	nanosleep(&(struct timespec){ .tv_nsec = 80000000 }, NULL);
	NEED(setsockopt(server, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	NEED(close(server));
	return unused;
}

static char bytes[32 << 20];

int main(void)
{
	pthread_t thread;
	int client;

	alarm(20);
	signal(SIGPIPE, SIG_IGN);
	CASE("MSG_WAITALL");
	pair(&client);
	NEED(write(server, "half", 4));
	RET(pthread_create(&thread, NULL, resets, NULL));
	VAL(recv(client, bytes, 8, MSG_WAITALL));
	RET(pthread_join(thread, NULL));
	ERR(recv(client, bytes, 8, 0));
	ERR(recv(client, bytes, 8, 0));
	close(client);
	CASE("write");
	pair(&client);
	RET(pthread_create(&thread, NULL, resets, NULL));
	ssize_t written = write(client, bytes, sizeof(bytes));
	CHECK(written > 0 && written < (ssize_t)sizeof(bytes));
	RET(pthread_join(thread, NULL));
	ERR(write(client, bytes, 1));
	ERR(write(client, bytes, 1));
	close(client);
	CASE("send");
	pair(&client);
	RET(pthread_create(&thread, NULL, resets, NULL));
	written = send(client, bytes, sizeof(bytes), 0);
	CHECK(written > 0 && written < (ssize_t)sizeof(bytes));
	RET(pthread_join(thread, NULL));
	ERR(send(client, bytes, 1, 0));
	ERR(send(client, bytes, 1, 0));
	DONE();
}
