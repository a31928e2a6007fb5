// Cancellation at blocking calls, clean-up handlers, disabled cancellation, pthread_kill.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <semaphore.h>

static int pipes[2];
static volatile int cleaned, handled;
static volatile int started;

static void cleanup(void *argument)
{
	cleaned += *(int *)argument;
}

static void *blocked_read(void *unused)
{
	int value = 1;
	char byte;
	pthread_cleanup_push(cleanup, &value);
	started = 1;
	(void)!read(pipes[0], &byte, 1);
	pthread_cleanup_pop(0);
	return unused;
}

static void *disabled(void *unused)
{
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	started = 1;
	usleep(20000);
	cleaned += 100;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pthread_testcancel();
	cleaned += 1000;
	return unused;
}

static void *spinning(void *unused)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	started = 1;
	for (;;)
		;
	return unused;
}

static void on_signal(int number)
{
	(void)number;
	handled++;
}

static void *signalled(void *unused)
{
	started = 1;
	while (!handled)
		usleep(500);
	return unused;
}

static void try(const char *what, void *(*body)(void *))
{
	pthread_t thread;
	void *result = NULL;
	started = 0;
	pthread_create(&thread, NULL, body, NULL);
	while (!started)
		usleep(500);
	usleep(2000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	SAY("%s: cancelled %d cleaned %d", what, result == PTHREAD_CANCELED, cleaned);
}

int main(void)
{
	pthread_t thread;
	NEED(pipe(pipes));
	try("read", blocked_read);
	try("disabled", disabled);
	try("asynchronous", spinning);
	CASE("pthread_kill");
	signal(SIGUSR1, on_signal);
	started = 0;
	pthread_create(&thread, NULL, signalled, NULL);
	while (!started)
		usleep(500);
	RET(pthread_kill(thread, 0));
	RET(pthread_kill(thread, SIGUSR1));
	pthread_join(thread, NULL);
	VAL(handled);
	DONE();
}
