// Futexes that name their owner: the word's protocol, waiters in order, deadlocks, owners that are gone, timeouts on both
// clocks.
#include "report.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static unsigned lock, second;
static volatile int order[4], next;

static long futex(unsigned *word, int op, unsigned value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static unsigned me(void)
{
	return syscall(SYS_gettid);
}

static void word(unsigned *w)
{
	unsigned owner = *w & FUTEX_TID_MASK;
	SAY("owner %s%s%s", owner == 0 ? "nobody" : owner == me() ? "me" : "another",
	    *w & FUTEX_WAITERS ? ", waiters" : "", *w & FUTEX_OWNER_DIED ? ", owner died" : "");
}

static void *locker(void *index)
{
	if (futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL) == 0) {
		order[next++] = (long)index;
		futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
	}
	return NULL;
}

static struct timespec after(clockid_t clock, long nanoseconds)
{
	struct timespec t;
	clock_gettime(clock, &t);
	t.tv_nsec += nanoseconds;
	if (t.tv_nsec >= 1000000000)
		t.tv_sec++, t.tv_nsec -= 1000000000;
	return t;
}

static volatile int stage;

static void *crossed(void *unused)
{
	futex(&second, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	stage = 1;
	SAY("the other's lock: %s", errno_name(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL) == 0 ? 0 : errno));
	futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
	futex(&second, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
	return unused;
}

static void *dies_with_it(void *unused)
{
	futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	stage = 2;
	usleep(60000);
	return unused;
}

static void *tries(void *unused)
{
	struct timespec past = { 1, 0 };
	ERR(futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL));
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &past));
	struct timespec bad = { 1, 1000000000 };
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &bad));
	struct timespec soon = after(CLOCK_REALTIME, 20000000);
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, &soon));
	soon = after(CLOCK_MONOTONIC, 20000000);
	ERR(futex(&lock, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &soon));
	soon = after(CLOCK_REALTIME, 20000000);
	ERR(futex(&lock, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &soon));
	return unused;
}

int main(void)
{
	pthread_t threads[3], thread;

	CASE("one thread");
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	word(&lock);
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	ERR(futex(&lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL));
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	word(&lock);
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	ERR(futex((unsigned *)8, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	ERR(futex((unsigned *)((char *)&lock + 1), FUTEX_LOCK_PI_PRIVATE, 0, NULL));

	CASE("others wait in order");
	futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	for (long i = 0; i < 3; i++) {
		pthread_create(&threads[i], NULL, locker, (void *)i);
		usleep(30000);
	}
	word(&lock);
	VAL(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	SAY("%d %d %d", order[0], order[1], order[2]);
	word(&lock);

	CASE("taken, timeouts");
	futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	pthread_create(&thread, NULL, tries, NULL);
	pthread_join(thread, NULL);
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	word(&lock);

	CASE("a plain wake-up does not give a lock");
	futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	next = 0;
	pthread_create(&thread, NULL, locker, (void *)3);
	usleep(30000);
	ERR(futex(&lock, FUTEX_WAKE_PRIVATE, 1, NULL));
	futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
	pthread_join(thread, NULL);
	VAL(order[0]);

	CASE("a circle");
	futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
	pthread_create(&thread, NULL, crossed, NULL);
	while (stage != 1)
		usleep(1000);
	usleep(30000);
	ERR(futex(&second, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
	pthread_join(thread, NULL);
	word(&lock);
	word(&second);

	CASE("an owner that does not exist");
	lock = 0x3ffffffe;
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	lock = 0;

	CASE("an owner that dies without telling");
	pthread_create(&thread, NULL, dies_with_it, NULL);
	while (stage != 2)
		usleep(1000);
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	word(&lock);
	pthread_join(thread, NULL);
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));
	word(&lock);
	lock = FUTEX_OWNER_DIED;
	ERR(futex(&lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL));
	word(&lock);
	ERR(futex(&lock, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL));

	CASE("between processes");
	unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	futex(shared, FUTEX_LOCK_PI, 0, NULL);
	pid_t child = fork();
	if (child == 0) {
		ERR(futex(shared, FUTEX_LOCK_PI, 0, NULL));
		word(shared);
		shared[1] = 1;
		_exit(0); // still holds it
	}
	usleep(30000);
	futex(shared, FUTEX_UNLOCK_PI, 0, NULL);
	while (!shared[1])
		usleep(1000);
	int status;
	waitpid(child, &status, 0);
	word(shared);
	ERR(futex(shared, FUTEX_LOCK_PI, 0, NULL));
	DONE();
}
