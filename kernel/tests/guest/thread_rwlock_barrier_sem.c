// Read-write locks, barriers and semaphores under contention.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t slots;
static long left, right;
static int torn, serial, inside, most;

static void *writer(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		pthread_rwlock_wrlock(&lock);
		left++;
		if (i % 100 == 0)
			sched_yield();
		right++;
		pthread_rwlock_unlock(&lock);
	}
	return unused;
}

static void *reader(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		pthread_rwlock_rdlock(&lock);
		if (left != right)
			__atomic_fetch_add(&torn, 1, __ATOMIC_RELAXED);
		pthread_rwlock_unlock(&lock);
	}
	return unused;
}

static void *meeting(void *unused)
{
	for (int i = 0; i < 100; i++)
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			__atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED);
	return unused;
}

static void *limited(void *unused)
{
	for (int i = 0; i < 300; i++) {
		sem_wait(&slots);
		int now = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
		if (now > 3)
			__atomic_store_n(&most, now, __ATOMIC_RELAXED);
		if (i % 30 == 0)
			sched_yield();
		__atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
		sem_post(&slots);
	}
	return unused;
}

static void run(int count, void *(*one)(void *), void *(*other)(void *))
{
	pthread_t threads[16];
	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, i % 2 ? one : other, NULL);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	run(8, writer, reader);
	VAL(torn);
	SAY("%ld %ld", left, right);
	RET(pthread_rwlock_tryrdlock(&lock));
	RET(pthread_rwlock_trywrlock(&lock));
	RET(pthread_rwlock_unlock(&lock));
	pthread_barrier_init(&barrier, NULL, 6);
	run(6, meeting, meeting);
	VAL(serial);
	sem_init(&slots, 0, 3);
	run(10, limited, limited);
	VAL(most);
	int value;
	sem_getvalue(&slots, &value);
	VAL(value);
	CASE("timed");
	sem_t empty;
	struct timespec then;
	sem_init(&empty, 0, 0);
	ERR(sem_trywait(&empty));
	clock_gettime(CLOCK_REALTIME, &then);
	ERR(sem_timedwait(&empty, &then));
	DONE();
}
