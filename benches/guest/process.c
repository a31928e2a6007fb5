/*
 * process: microseconds to make a process, by several ways.
 *
 * usage: process CASE [MILLISECONDS]      (default 1000)
 *
 *     fork          fork, the child calls _exit, the parent waits
 *     vfork         the same with vfork
 *     exec-static   fork, the child executes this program, which returns at once
 *     vfork-exec    the same with vfork
 *     spawn         the same with posix_spawn
 *     exec-dynamic  fork, the child executes /bin/true
 *     shell         fork, the child executes /bin/sh -c /bin/true
 *     fork-large    as fork, by a process that has written 64 MB
 *
 * Cycles are timed one by one until MILLISECONDS have passed, after a few for warming up; the result is their median.
 * Prints one line of NAME=VALUE words:
 *     process case=fork us=31.20 min=29.77 max=120.44 cycles=31400
 * Built static-pie with the host's gcc; runs natively and in the guest unchanged.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CYCLES = 20000, WARM_UP = 8, LARGE = 64 << 20 };

extern char **environ;
static char self[] = "/proc/self/exe";
static char *noop[] = { "process", "noop", NULL };
static char *dynamic_program[] = { "/bin/true", NULL };
static char *shell[] = { "/bin/sh", "-c", "/bin/true", NULL };

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void finish(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
		perror("process: a child could not be made or failed");
		exit(1);
	}
}

static pid_t start(const char *path, char **arguments)
{
	pid_t child = fork();
	if (child == 0) {
		execve(path, arguments, environ);
		_exit(127);
	}
	return child;
}

static void cycle(const char *name)
{
	pid_t child;

	if (!strcmp(name, "fork") || !strcmp(name, "fork-large")) {
		child = fork();
		if (child == 0)
			_exit(0);
		finish(child);
	} else if (!strcmp(name, "vfork")) {
		child = vfork();
		if (child == 0)
			_exit(0);
		finish(child);
	} else if (!strcmp(name, "exec-static")) {
		finish(start(self, noop));
	} else if (!strcmp(name, "vfork-exec")) {
		child = vfork();
		if (child == 0) {
			execve(self, noop, environ);
			_exit(127);
		}
		finish(child);
	} else if (!strcmp(name, "spawn")) {
		if (posix_spawn(&child, self, NULL, NULL, noop, environ) != 0)
			child = -1;
		finish(child);
	} else if (!strcmp(name, "exec-dynamic")) {
		finish(start(dynamic_program[0], dynamic_program));
	} else if (!strcmp(name, "shell")) {
		finish(start(shell[0], shell));
	} else {
		fprintf(stderr, "process: '%s' is no case\n", name);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static double took[MAX_CYCLES];
	int n = 0;

	if (argc > 1 && !strcmp(argv[1], "noop"))
		return 0;
	double budget_ms = argc > 2 ? atof(argv[2]) : 1000;
	if (argc < 2 || budget_ms <= 0) {
		fprintf(stderr, "usage: process CASE [MILLISECONDS]\n");
		return 2;
	}
	if (!strcmp(argv[1], "fork-large")) {
		char *large = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (large == MAP_FAILED) {
			perror("process: mmap");
			return 1;
		}
		memset(large, 1, LARGE);
	}
	for (int i = 0; i < WARM_UP; i++)
		cycle(argv[1]);
	for (double end = now_us() + budget_ms * 1e3; n < 3 || (n < MAX_CYCLES && now_us() < end); n++) {
		double t = now_us();
		cycle(argv[1]);
		took[n] = now_us() - t;
	}
	qsort(took, n, sizeof *took, by_value);
	printf("process case=%s us=%.2f min=%.2f max=%.2f cycles=%d\n", argv[1], took[n / 2], took[0], took[n - 1], n);
	return 0;
}
