/*
 * getpid: nanoseconds per raw getpid system call.
 *
 * usage: getpid [MILLISECONDS [PERCENT]]      (default 500, 0)
 *
 * Batches of calls are timed until MILLISECONDS have passed; the result is the mean over the batches but the slowest
 * twentieth, in which preemption and the first, trapping calls are. Not the median: where a batch takes one of two times,
 * as it does beside a neighbour on the same core, that jumps between them. So many PERCENT more calls are made than are
 * counted, which makes each look so much slower: for trying out whether a comparison notices. Prints one line of
 * NAME=VALUE words:
 *     getpid ns=82.31 min=81.90 max=120.44 batches=31 calls=20000
 * Built static-pie with the host's gcc; runs natively and in the guest unchanged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CALLS = 20000, MAX_BATCHES = 4096 };

/* the shape of glibc's own system call sites: mov $nr,%eax; syscall */
static inline long raw_getpid(void)
{
	long pid;
	__asm__ volatile("movl $39, %%eax\n\tsyscall" : "=a"(pid) : : "rcx", "r11", "memory");
	return pid;
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double batch[MAX_BATCHES];
	double budget_ms = argc > 1 ? atof(argv[1]) : 500;
	double percent = argc > 2 ? atof(argv[2]) : 0;
	int made = CALLS * (1 + percent / 100);
	int n = 0;

	if (budget_ms <= 0) {
		fprintf(stderr, "getpid: MILLISECONDS must be a positive number, not '%s'\n", argv[1]);
		return 2;
	}
	if (percent < 0 || percent > 1000) {
		fprintf(stderr, "getpid: PERCENT must be a number from 0 to 1000, not '%s'\n", argv[2]);
		return 2;
	}
	if (raw_getpid() <= 0) {
		fprintf(stderr, "getpid: the system call returned %ld\n", raw_getpid());
		return 1;
	}
	for (double start = now_ns(), end = start + budget_ms * 1e6; n < 3 || (n < MAX_BATCHES && now_ns() < end); n++) {
		double t = now_ns();
		for (int i = 0; i < made; i++)
			raw_getpid();
		batch[n] = (now_ns() - t) / CALLS;
	}
	qsort(batch, n, sizeof *batch, by_value);
	int kept = n - (n + 19) / 20;
	double sum = 0;
	for (int i = 0; i < kept; i++)
		sum += batch[i];
	printf("getpid ns=%.2f min=%.2f max=%.2f batches=%d calls=%d\n", sum / kept, batch[0], batch[n - 1], n, CALLS);
	return 0;
}
