// A mutex keeps an unprotected counter right; error-checking, recursive, try and timed locks.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <time.h>

#define THREADS 8
#define ROUNDS 20000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile long counter;

static void *count(void *unused)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		long now = counter;
		if (i % 1000 == 0)
			sched_yield();
		counter = now + 1;
		pthread_mutex_unlock(&mutex);
	}
	return unused;
}

static void *hold_try(void *argument)
{
	struct timespec then;
	clock_gettime(CLOCK_REALTIME, &then);
	then.tv_nsec += 10000000;
	if (then.tv_nsec >= 1000000000)
		then.tv_sec++, then.tv_nsec -= 1000000000;
	RET(pthread_mutex_trylock(argument));
	RET(pthread_mutex_timedlock(argument, &then));
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	VAL(counter);

	pthread_mutexattr_t attributes;
	pthread_mutex_t other;
	CASE("error checking");
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&other, &attributes);
	RET(pthread_mutex_unlock(&other));
	RET(pthread_mutex_lock(&other));
	RET(pthread_mutex_lock(&other));
	pthread_create(&threads[0], NULL, hold_try, &other);
	pthread_join(threads[0], NULL);
	RET(pthread_mutex_unlock(&other));
	CASE("recursive");
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&other, &attributes);
	RET(pthread_mutex_lock(&other));
	RET(pthread_mutex_lock(&other));
	RET(pthread_mutex_trylock(&other));
	for (int i = 0; i < 3; i++)
		RET(pthread_mutex_unlock(&other));
	RET(pthread_mutex_unlock(&other));
	DONE();
}
