// exit in a thread ends the whole process with its status, whatever the others do.
// variants: dynamic static-pie musl
// exits: 23
#include "report.h"
#include <pthread.h>
#include <stdlib.h>

static void *spin(void *unused)
{
	for (volatile unsigned long i = 0;; i++)
		;
	return unused;
}

static void *sleeper(void *unused)
{
	sleep(100);
	return unused;
}

static void *ender(void *unused)
{
	usleep(10000);
	SAY("ending");
	exit(23);
	return unused;
}

int main(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, spin, NULL);
	pthread_create(&thread, NULL, sleeper, NULL);
	pthread_create(&thread, NULL, ender, NULL);
	sleep(100);
	return 1;
}
