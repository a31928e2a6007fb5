// A reader sleeps until there is data, a writer until there is room, and both wake when the other side closes.
#include "report.h"
#include <pthread.h>
#include <time.h>

static int pipes[2];

static void *slow_writer(void *unused)
{
	struct timespec pause = { 0, 20000000 };
	nanosleep(&pause, NULL);
	NEED(write(pipes[1], "late", 4));
	nanosleep(&pause, NULL);
	close(pipes[1]);
	return unused;
}

static void *big_writer(void *unused)
{
	static char text[500000];
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = i % 251;
	VAL(write(pipes[1], text, sizeof(text)));
	close(pipes[1]);
	return unused;
}

static void *slow_closer(void *unused)
{
	struct timespec pause = { 0, 20000000 };
	nanosleep(&pause, NULL);
	close(pipes[0]);
	return unused;
}

int main(void)
{
	static char text[500000];
	pthread_t thread;
	NEED(pipe(pipes));
	pthread_create(&thread, NULL, slow_writer, NULL);
	VAL(read(pipes[0], text, 100));
	VAL(read(pipes[0], text, 100));
	pthread_join(thread, NULL);
	CASE("much");
	NEED(pipe(pipes));
	pthread_create(&thread, NULL, big_writer, NULL);
	long total = 0, got, wrong = 0;
	while ((got = read(pipes[0], text, 70001)) > 0) {
		for (long i = 0; i < got; i++)
			wrong += text[i] != (char)((total + i) % 251);
		total += got;
	}
	pthread_join(thread, NULL);
	VAL(total);
	VAL(wrong);
	CASE("the reader goes");
	signal(SIGPIPE, SIG_IGN);
	NEED(pipe(pipes));
	pthread_create(&thread, NULL, slow_closer, NULL);
	long first = write(pipes[1], text, 300000);
	CHECK(first < 300000);
	ERR(write(pipes[1], text, 1));
	pthread_join(thread, NULL);
	DONE();
}
