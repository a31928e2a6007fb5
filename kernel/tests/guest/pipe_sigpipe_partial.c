// A write to a pipe whose last reader goes in the middle: the number of bytes, and SIGPIPE all the same.
#include "report.h"
#include <pthread.h>
#include <signal.h>
#include <time.h>

static int ends[2];
static volatile sig_atomic_t pipes;

static void on_pipe(int number)
{
	(void)number;
	pipes++;
}

static void *closes(void *unused)
{
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	NEED(close(ends[0]));
	return unused;
}

static char bytes[1 << 20];

int main(void)
{
	pthread_t thread;

	alarm(20);
	signal(SIGPIPE, on_pipe);
	NEED(pipe(ends));
	RET(pthread_create(&thread, NULL, closes, NULL));
	VAL(write(ends[1], bytes, sizeof(bytes)));
	RET(pthread_join(thread, NULL));
	VAL(pipes);
	ERR(write(ends[1], bytes, 1));
	VAL(pipes);
	DONE();
}
