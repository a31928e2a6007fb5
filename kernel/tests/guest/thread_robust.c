// A robust mutex whose owner ended tells so, is made consistent, or is lost for good.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>

static pthread_mutex_t mutex;
static volatile int held;

static void *die_with_lock(void *unused)
{
	pthread_mutex_lock(&mutex);
	return unused;
}

static void *die_later(void *unused)
{
	pthread_mutex_lock(&mutex);
	held = 1;
	usleep(20000);
	return unused;
}

int main(void)
{
	pthread_t thread;
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&mutex, &attributes);
	pthread_create(&thread, NULL, die_with_lock, NULL);
	pthread_join(thread, NULL);
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_consistent(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	CASE("a waiter is woken");
	pthread_create(&thread, NULL, die_later, NULL);
	while (!held)
		usleep(500);
	RET(pthread_mutex_lock(&mutex));
	CASE("not made consistent");
	RET(pthread_mutex_unlock(&mutex));
	RET(pthread_mutex_lock(&mutex));
	DONE();
}
