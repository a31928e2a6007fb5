// Condition variables: ping-pong, broadcast, time-outs on the realtime and the monotonic clock.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int turn, woken, go;

static void *pong(void *unused)
{
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != 1)
			pthread_cond_wait(&condition, &mutex);
		turn = 0;
		pthread_cond_signal(&condition);
		pthread_mutex_unlock(&mutex);
	}
	return unused;
}

static void *wait_for_go(void *unused)
{
	pthread_mutex_lock(&mutex);
	while (!go)
		pthread_cond_wait(&condition, &mutex);
	woken++;
	pthread_mutex_unlock(&mutex);
	return unused;
}

int main(void)
{
	pthread_t threads[10];
	pthread_create(&threads[0], NULL, pong, NULL);
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != 0)
			pthread_cond_wait(&condition, &mutex);
		turn = 1;
		pthread_cond_signal(&condition);
		pthread_mutex_unlock(&mutex);
	}
	pthread_join(threads[0], NULL);
	VAL(turn);
	CASE("broadcast");
	for (int i = 0; i < 10; i++)
		pthread_create(&threads[i], NULL, wait_for_go, NULL);
	usleep(5000);
	pthread_mutex_lock(&mutex);
	go = 1;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 10; i++)
		pthread_join(threads[i], NULL);
	VAL(woken);
	CASE("time-out");
	for (int monotonic = 0; monotonic < 2; monotonic++) {
		pthread_condattr_t attributes;
		pthread_cond_t timed;
		struct timespec then, now;
		clockid_t clock = monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME;
		pthread_condattr_init(&attributes);
		pthread_condattr_setclock(&attributes, clock);
		pthread_cond_init(&timed, &attributes);
		clock_gettime(clock, &then);
		then.tv_nsec += 20000000;
		if (then.tv_nsec >= 1000000000)
			then.tv_sec++, then.tv_nsec -= 1000000000;
		pthread_mutex_lock(&mutex);
		RET(pthread_cond_timedwait(&timed, &mutex, &then));
		pthread_mutex_unlock(&mutex);
		clock_gettime(clock, &now);
		CHECK(now.tv_sec > then.tv_sec || (now.tv_sec == then.tv_sec && now.tv_nsec >= then.tv_nsec));
	}
	DONE();
}
