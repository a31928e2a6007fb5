// FUTEX_REQUEUE, CMP_REQUEUE and WAKE_OP move and wake waiters between two words.
#include "report.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

static int first, second;
static volatile int waiting, woken;

static void *waiter(void *word)
{
	__atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0)
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

static long wake(int *word, int count)
{
	return syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

int main(void)
{
	pthread_t threads[8];
	CASE("requeue");
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, waiter, &first);
	settle(6);
	ERR(syscall(SYS_futex, &first, FUTEX_CMP_REQUEUE_PRIVATE, 1, 2l, &second, 77));
	VAL(syscall(SYS_futex, &first, FUTEX_CMP_REQUEUE_PRIVATE, 1, 2l, &second, 0));
	until(1);
	VAL(wake(&second, 100));
	until(3);
	VAL(syscall(SYS_futex, &first, FUTEX_REQUEUE_PRIVATE, 0, 1l, &second, 0));
	VAL(wake(&first, 100));
	VAL(wake(&second, 100));
	until(6);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	CASE("wake with an operation");
	waiting = woken = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, waiter, i < 2 ? &first : &second);
	settle(4);
	int add_if_zero = FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0);
	VAL(syscall(SYS_futex, &first, FUTEX_WAKE_OP_PRIVATE, 1, 10l, &second, add_if_zero));
	VAL(second);
	until(3);
	VAL(syscall(SYS_futex, &first, FUTEX_WAKE_OP_PRIVATE, 1, 10l, &second, add_if_zero));
	VAL(second);
	until(4);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	int set = FUTEX_OP(FUTEX_OP_SET, 3, FUTEX_OP_CMP_GT, 100);
	VAL(syscall(SYS_futex, &first, FUTEX_WAKE_OP_PRIVATE, 1, 10l, &second, set));
	VAL(second);
	int or = FUTEX_OP((FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_LT, 100);
	VAL(syscall(SYS_futex, &first, FUTEX_WAKE_OP_PRIVATE, 1, 10l, &second, or));
	VAL(second);
	DONE();
}
