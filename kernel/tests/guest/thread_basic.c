// Threads: creation, results, identity, detached ones, attributes, thread-local storage and its destructors.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/syscall.h>

static __thread int local = 7;
static pthread_key_t key;
static volatile int destroyed;
static sem_t done;

static void destroy(void *value)
{
	destroyed += (int)(intptr_t)value;
}

static void *body(void *argument)
{
	int mine = (int)(intptr_t)argument;
	int fresh = local == 7;
	local = mine;
	pthread_setspecific(key, argument);
	sched_yield();
	return (void *)(intptr_t)(fresh && local == mine ? mine * 2 : -1);
}

static void *detached(void *unused)
{
	sem_post(&done);
	return unused;
}

static void *identity(void *unused)
{
	SAY("own tid %d same pid %d", syscall(SYS_gettid) != getpid(), *(pid_t *)unused == getpid());
	return NULL;
}

int main(void)
{
	pthread_t threads[10];
	void *result;
	pid_t pid = getpid();
	pthread_key_create(&key, destroy);
	sem_init(&done, 0, 0);
	for (int i = 0; i < 10; i++)
		NEED(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)(i + 1)) ? -1 : 0);
	for (int i = 0; i < 10; i++) {
		pthread_join(threads[i], &result);
		VAL((intptr_t)result);
	}
	VAL(local);
	VAL(destroyed);
	CASE("detached");
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	for (int i = 0; i < 20; i++)
		RET(pthread_create(&threads[0], &attributes, detached, NULL));
	for (int i = 0; i < 20; i++)
		sem_wait(&done);
	CASE("identity");
	pthread_create(&threads[0], NULL, identity, &pid);
	pthread_join(threads[0], NULL);
	DONE();
}
