// 8 MB each way at once over one TCP connection, in odd sizes, arrive whole and in order.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#define TOTAL (8 << 20)

static void *sender(void *argument)
{
	int fd = (int)(long)argument;
	unsigned char *block = malloc(70001);
	uint32_t state = 1;
	long sent = 0;
	while (sent < TOTAL) {
		long size = 1 + (sent * 7919 + 13) % 70000;
		if (size > TOTAL - sent)
			size = TOTAL - sent;
		for (long i = 0; i < size; i++)
			block[i] = (state = state * 1103515245 + 12345) >> 16;
		for (long at = 0; at < size;)
			at += NEED(send(fd, block + at, size - at, 0));
		sent += size;
	}
	shutdown(fd, SHUT_WR);
	free(block);
	return NULL;
}

static void *receiver(void *argument)
{
	int fd = (int)(long)argument;
	unsigned char *block = malloc(50000);
	uint32_t state = 1;
	long total = 0, got, wrong = 0;
	while ((got = recv(fd, block, 1 + (total * 31 + 7) % 49999, 0)) > 0) {
		for (long i = 0; i < got; i++)
			wrong += block[i] != (unsigned char)((state = state * 1103515245 + 12345) >> 16);
		total += got;
	}
	free(block);
	return (void *)(wrong ? -wrong : total);
}

int main(void)
{
	pthread_t threads[4];
	void *one, *two;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(listener, (struct sockaddr *)&address, length));
	NEED(listen(listener, 1));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	long client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(client, (struct sockaddr *)&address, length));
	long server = NEED(accept(listener, NULL, NULL));
	pthread_create(&threads[0], NULL, sender, (void *)client);
	pthread_create(&threads[1], NULL, sender, (void *)server);
	pthread_create(&threads[2], NULL, receiver, (void *)client);
	pthread_create(&threads[3], NULL, receiver, (void *)server);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	pthread_join(threads[2], &one);
	pthread_join(threads[3], &two);
	SAY("%ld %ld", (long)one, (long)two);
	DONE();
}
