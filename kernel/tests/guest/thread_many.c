// 200 threads alive at once, each asleep on a futex, then released; 2000 short ones in a row.
#include "report.h"
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int alive, go, total;

static void *body(void *argument)
{
	pthread_mutex_lock(&mutex);
	alive++;
	pthread_cond_broadcast(&condition);
	while (!go)
		pthread_cond_wait(&condition, &mutex);
	total += (int)(long)argument;
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void *brief(void *argument)
{
	__atomic_fetch_add(&total, 1, __ATOMIC_RELAXED);
	return argument;
}

int main(void)
{
	pthread_t threads[200];
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 * 1024);
	int made = 0;
	for (long i = 0; i < 200; i++)
		made += pthread_create(&threads[i], &attributes, body, (void *)i) == 0;
	VAL(made);
	pthread_mutex_lock(&mutex);
	while (alive < 200)
		pthread_cond_wait(&condition, &mutex);
	go = 1;
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 200; i++)
		pthread_join(threads[i], NULL);
	VAL(total);
	total = 0;
	for (int i = 0; i < 2000; i++) {
		pthread_create(&threads[0], &attributes, brief, NULL);
		pthread_join(threads[0], NULL);
	}
	VAL(total);
	DONE();
}
