// FUTEX_WAIT and FUTEX_WAKE: the value check, counts woken, time-outs relative and absolute, bitsets, errors.
#include "report.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static int word;
static volatile int waiting, woken;

static long futex(int operation, int value, void *fourth, void *other, int last)
{
	return syscall(SYS_futex, &word, operation, value, fourth, other, last);
}

static void *waiter(void *argument)
{
	__atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
	long bits = (long)argument;
	long result = bits ? futex(FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, bits) : futex(FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	if (result == 0)
		__atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void settle(int count)
{
	while (waiting < count)
		usleep(500);
	usleep(50000);
}

static void until(int count)
{
	for (int i = 0; i < 2000 && woken < count; i++)
		usleep(500);
	usleep(5000);
	VAL(woken);
}

int main(void)
{
	pthread_t threads[8];
	struct timespec soon = { 0, 10000000 }, then;
	CASE("value check");
	ERR(futex(FUTEX_WAIT, 1, NULL, NULL, 0));
	VAL(futex(FUTEX_WAKE, 10, NULL, NULL, 0));
	CASE("time-outs");
	ERR(futex(FUTEX_WAIT, 0, &soon, NULL, 0));
	ERR(futex(FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0));
	clock_gettime(CLOCK_MONOTONIC, &then);
	ERR(futex(FUTEX_WAIT_BITSET_PRIVATE, 0, &then, NULL, -1));
	clock_gettime(CLOCK_REALTIME, &then);
	then.tv_nsec += then.tv_nsec < 980000000 ? 10000000 : 0;
	ERR(futex(FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &then, NULL, -1));
	soon.tv_nsec = 1000000000;
	ERR(futex(FUTEX_WAIT, 0, &soon, NULL, 0));
	soon = (struct timespec){ -1, 0 };
	ERR(futex(FUTEX_WAIT, 0, &soon, NULL, 0));
	CASE("counts");
	for (int i = 0; i < 5; i++)
		pthread_create(&threads[i], NULL, waiter, NULL);
	settle(5);
	VAL(futex(FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
	until(2);
	VAL(futex(FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
	until(5);
	for (int i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	CASE("bitsets");
	waiting = woken = 0;
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, waiter, (void *)(1l << i));
	settle(4);
	VAL(futex(FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 0x10));
	VAL(futex(FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 0x5));
	until(2);
	VAL(futex(FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
	until(4);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CASE("errors");
	ERR(futex(FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
	ERR(futex(FUTEX_WAKE_BITSET, 0, NULL, NULL, 0));
	ERR(futex(99, 0, NULL, NULL, 0));
	ERR(syscall(SYS_futex, (char *)&word + 1, FUTEX_WAIT, 0, NULL, NULL, 0));
	DONE();
}
