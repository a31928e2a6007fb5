// The C library's mutexes with PTHREAD_PRIO_INHERIT: plain, checking, recursive, robust, shared; with condition variables.
#include "report.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static pthread_mutex_t mutex;
static pthread_cond_t condition;
static int counter, ready;

static void make(pthread_mutex_t *m, int type, int robust, int shared)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	RET(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
	pthread_mutexattr_settype(&a, type);
	if (robust)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	if (shared)
		pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	RET(pthread_mutex_init(m, &a));
}

static void *count(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	return unused;
}

static void *consumer(void *unused)
{
	pthread_mutex_lock(&mutex);
	while (!ready)
		pthread_cond_wait(&condition, &mutex);
	ready--;
	counter++;
	pthread_mutex_unlock(&mutex);
	return unused;
}

static void *other(void *unused)
{
	RET(pthread_mutex_trylock(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	RET(pthread_mutex_timedlock(&mutex, &soon));
	return unused;
}

static void *leaver(void *unused)
{
	pthread_mutex_lock(&mutex);
	return unused;
}

int main(void)
{
	pthread_t threads[4];

	CASE("plain, contended");
	make(&mutex, PTHREAD_MUTEX_NORMAL, 0, 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, count, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	VAL(counter);

	CASE("with a condition variable");
	counter = 0;
	pthread_cond_init(&condition, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, consumer, NULL);
	usleep(30000);
	pthread_mutex_lock(&mutex);
	ready = 4;
	pthread_cond_signal(&condition);
	pthread_cond_broadcast(&condition);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	VAL(counter);
	pthread_mutex_lock(&mutex);
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	RET(pthread_cond_timedwait(&condition, &mutex, &soon));
	pthread_create(threads, NULL, other, NULL);
	pthread_join(threads[0], NULL);
	pthread_mutex_unlock(&mutex);

	CASE("checking and recursive");
	make(&mutex, PTHREAD_MUTEX_ERRORCHECK, 0, 0);
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_lock(&mutex));
	pthread_create(threads, NULL, other, NULL);
	pthread_join(threads[0], NULL);
	RET(pthread_mutex_unlock(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	make(&mutex, PTHREAD_MUTEX_RECURSIVE, 0, 0);
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	RET(pthread_mutex_unlock(&mutex));

	CASE("robust, its owner gone");
	make(&mutex, PTHREAD_MUTEX_NORMAL, 1, 0);
	pthread_create(threads, NULL, leaver, NULL);
	pthread_join(threads[0], NULL);
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_consistent(&mutex));
	RET(pthread_mutex_unlock(&mutex));
	RET(pthread_mutex_lock(&mutex));
	RET(pthread_mutex_unlock(&mutex));

	CASE("robust and shared, its owner killed while another waits");
	pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	make(shared, PTHREAD_MUTEX_NORMAL, 1, 1);
	volatile int *held = (int *)(shared + 1);
	pid_t owner = fork();
	if (owner == 0) {
		pthread_mutex_lock(shared);
		*held = 1;
		pause();
	}
	while (!*held)
		usleep(1000);
	pid_t waiter = fork();
	if (waiter == 0) {
		RET(pthread_mutex_lock(shared));
		RET(pthread_mutex_consistent(shared));
		_exit(pthread_mutex_unlock(shared));
	}
	usleep(50000);
	kill(owner, SIGKILL);
	int status;
	waitpid(owner, &status, 0);
	waitpid(waiter, &status, 0);
	VAL(status);
	RET(pthread_mutex_lock(shared));
	RET(pthread_mutex_unlock(shared));
	DONE();
}
