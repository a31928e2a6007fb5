// FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI: a condition variable's waiters are given the mutex, or moved to it.
#include "report.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static unsigned condition, lock;
static volatile int waiting, done, results[4], owners[4];

static long wait_for_lock(const struct timespec *timeout, int flags)
{
	return syscall(SYS_futex, &condition, FUTEX_WAIT_REQUEUE_PI | FUTEX_PRIVATE_FLAG | flags, 0, timeout, &lock, 0);
}

static long requeue(int wakes, int moves, unsigned value)
{
	return syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, wakes, (long)moves, &lock, value);
}

static unsigned me(void)
{
	return syscall(SYS_gettid);
}

static long pi(int op)
{
	return syscall(SYS_futex, &lock, op | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
}

static void *waiter(void *index)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	results[(long)index] = wait_for_lock(NULL, 0) == 0 ? 0 : errno;
	owners[(long)index] = (lock & FUTEX_TID_MASK) == me();
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	if (owners[(long)index])
		pi(FUTEX_UNLOCK_PI);
	return NULL;
}

static void start(pthread_t *threads, int count)
{
	waiting = done = 0;
	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, waiter, (void *)i);
	while (waiting != count)
		usleep(1000);
	usleep(50000);
}

static void finish(pthread_t *threads, int count)
{
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++)
		SAY("%s, owner %d", errno_name(results[i]), owners[i]);
	SAY("word %s", lock == 0 ? "free" : "taken");
}

static void on_signal(int number)
{
	(void)number;
}

static void *plain(void *unused)
{
	waiting = 1;
	syscall(SYS_futex, &condition, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return unused;
}

int main(void)
{
	pthread_t threads[4];

	CASE("refusals");
	VAL(requeue(1, 10, 0));
	ERR(requeue(1, 10, 1));
	ERR(requeue(0, 10, 0));
	ERR(requeue(2, 10, 0));
	ERR(requeue(1, -1, 0));
	ERR(syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, 1L, &condition, 0));
	ERR(syscall(SYS_futex, &condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &condition, 0));
	ERR(syscall(SYS_futex, &condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 1, NULL, &lock, 0));
	struct timespec past = { 1, 0 }, soon;
	ERR(wait_for_lock(&past, 0));
	ERR(wait_for_lock(&past, FUTEX_CLOCK_REALTIME));
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	ERR(wait_for_lock(&soon, FUTEX_CLOCK_REALTIME));

	CASE("given the free lock, the others in turn");
	start(threads, 3);
	VAL(requeue(1, 10, 0));
	finish(threads, 3);

	CASE("one only");
	start(threads, 2);
	VAL(requeue(1, 0, 0));
	usleep(30000);
	VAL(done);
	VAL(requeue(1, 0, 0));
	finish(threads, 2);

	CASE("moved to a lock that is held");
	pi(FUTEX_LOCK_PI);
	start(threads, 3);
	VAL(requeue(1, 10, 0));
	usleep(30000);
	VAL(done);
	SAY("waiters %d", !!(lock & FUTEX_WAITERS));
	pi(FUTEX_UNLOCK_PI);
	finish(threads, 3);

	CASE("a plain wake-up is no way");
	start(threads, 1);
	ERR(syscall(SYS_futex, &condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	ERR(syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1L, &lock, 0));
	unsigned other = 0;
	ERR(syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, 1L, &other, 0));
	VAL(requeue(1, 0, 0));
	finish(threads, 1);
	waiting = 0;
	pthread_create(threads, NULL, plain, NULL);
	while (!waiting)
		usleep(1000);
	usleep(30000);
	ERR(requeue(1, 1, 0));
	VAL(syscall(SYS_futex, &condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	pthread_join(threads[0], NULL);

	CASE("a signal before and after the move");
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGUSR1, &action, NULL);
	start(threads, 1);
	pthread_kill(threads[0], SIGUSR1);
	usleep(30000);
	VAL(done);
	condition = 1;
	pthread_kill(threads[0], SIGUSR1);
	finish(threads, 1);
	condition = 0;
	pi(FUTEX_LOCK_PI);
	start(threads, 1);
	VAL(requeue(1, 1, 0));
	usleep(10000);
	pthread_kill(threads[0], SIGUSR1);
	usleep(30000);
	VAL(done);
	pi(FUTEX_UNLOCK_PI);
	finish(threads, 1);
	DONE();
}
