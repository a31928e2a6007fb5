// The process lives on when its first thread has ended by pthread_exit, and ends with the last.
// exits: 0
#include "report.h"
#include <pthread.h>

static pthread_t first;

static void *body(void *unused)
{
	RET(pthread_join(first, NULL));
	CHECK(kill(getpid(), 0) == 0);
	SAY("alone");
	return unused;
}

int main(void)
{
	pthread_t thread;
	first = pthread_self();
	pthread_create(&thread, NULL, body, NULL);
	SAY("leaving");
	pthread_exit(NULL);
}
