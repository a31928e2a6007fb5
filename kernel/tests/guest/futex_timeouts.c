// Timeouts of futex waits: relative and absolute, on both clocks, and what a signal does to them.
#include "report.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static unsigned word;

static long ms_since(struct timespec from)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000;
}

static struct timespec after(clockid_t clock, long ms)
{
	struct timespec t;
	clock_gettime(clock, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static volatile int signals;

static void on_signal(int number)
{
	(void)number;
	signals++;
}

static void timed(const char *name, int op, struct timespec timeout, unsigned bits, long least, long most)
{
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	long result = syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, 0, &timeout, NULL, bits);
	int error = result < 0 ? errno : 0;
	long took = ms_since(start);
	SAY("%s: %s, in time %d", name, errno_name(error), took >= least && took <= most);
}

int main(void)
{
	struct timespec short_time = { 0, 30000000 };
	timed("relative", FUTEX_WAIT, short_time, 0, 29, 1000);
	timed("relative, realtime", FUTEX_WAIT | FUTEX_CLOCK_REALTIME, short_time, 0, 29, 1000);
	timed("absolute, monotonic", FUTEX_WAIT_BITSET, after(CLOCK_MONOTONIC, 30), ~0u, 25, 1000);
	timed("absolute, realtime", FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, after(CLOCK_REALTIME, 30), ~0u, 25, 1000);
	timed("past", FUTEX_WAIT_BITSET, (struct timespec){ 0, 1 }, ~0u, 0, 500);
	timed("past, realtime", FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, (struct timespec){ 1000, 0 }, ~0u, 0, 500);
	timed("nothing", FUTEX_WAIT, (struct timespec){ 0, 0 }, 0, 0, 500);
	timed("negative", FUTEX_WAIT, (struct timespec){ -1, 0 }, 0, 0, 500);
	timed("too many nanoseconds", FUTEX_WAIT, (struct timespec){ 0, 1000000000 }, 0, 0, 500);
	timed("no bits", FUTEX_WAIT_BITSET, short_time, 0, 0, 500);
	word = 1;
	timed("another value", FUTEX_WAIT, short_time, 0, 0, 25);
	word = 0;
	ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, (void *)8, NULL, 0));
	ERR(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
	ERR(syscall(SYS_futex, &word, 99, 1, NULL, NULL, 0));

	CASE("signals");
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGALRM, &action, NULL);
		struct itimerval soon = { .it_value.tv_usec = 20000 };
		setitimer(ITIMER_REAL, &soon, NULL);
		timed("relative", FUTEX_WAIT, (struct timespec){ 0, 200000000 }, 0, 15, 150);
		setitimer(ITIMER_REAL, &soon, NULL);
		timed("absolute", FUTEX_WAIT_BITSET, after(CLOCK_MONOTONIC, 200), ~0u, 15, 150);
	}
	VAL(signals);
	DONE();
}
