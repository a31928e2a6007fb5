// Programs at contested addresses: a child executes the very same program, by fork and by vfork, the program executes
// itself in place, and the parent forks and reads the clock (vDSO, libraries) after each.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static unsigned char initialised[20000] = { [0] = 1, [19999] = 2 };
static unsigned char zeros[50000];

static int fresh(void)
{
	for (unsigned i = 0; i < sizeof zeros; i++)
		if (zeros[i])
			return 0;
	return initialised[0] == 1 && initialised[19999] == 2 && initialised[10000] == 0;
}

static void spoil(unsigned char with)
{
	memset(zeros, with, sizeof zeros);
	memset(initialised, with, sizeof initialised);
}

static int spoiled(unsigned char with)
{
	for (unsigned i = 0; i < sizeof zeros; i++)
		if (zeros[i] != with)
			return 0;
	return initialised[0] == with && initialised[19999] == with;
}

static int clock_goes(void)
{
	struct timespec before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	clock_gettime(CLOCK_MONOTONIC, &after);
	return after.tv_sec * 1000000000ll + after.tv_nsec >= before.tv_sec * 1000000000ll + before.tv_nsec &&
	       time(NULL) > 1000000000;
}

static int status_of(pid_t child)
{
	int status = -1;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	char self[64] = "/proc/self/exe", depth[16];
	int level = argc > 1 ? atoi(argv[1]) : 0;
	char *arguments[] = { self, depth, NULL };

	if (!fresh())
		return 50 + level;
	spoil(level + 1);
	if (level == 9) // the end of a chain of execve
		return clock_goes() ? 9 : 60;
	if (level >= 4) {
		snprintf(depth, sizeof depth, "%d", level + 1);
		execv(argv[0], arguments);
		return 61;
	}
	if (level == 3)
		return clock_goes() ? 3 : 62;
	snprintf(depth, sizeof depth, "%d", level + 1);
	for (int round = 0; round < 3; round++) {
		pid_t child = NEED(fork());
		if (child == 0) {
			spoil(99);
			execv(self, arguments);
			_exit(63);
		}
		if (!clock_goes() || !spoiled(level + 1))
			return 64;
		if (status_of(child) != level + 1)
			return 65;
		// After others had these addresses: fork once more, with nothing executed.
		child = NEED(fork());
		if (child == 0)
			_exit(clock_goes() && spoiled(level + 1) ? 5 : 6);
		if (status_of(child) != 5 || !clock_goes() || !spoiled(level + 1))
			return 66;
		child = vfork();
		if (child == 0) {
			execv(self, arguments);
			_exit(67);
		}
		if (status_of(child) != level + 1 || !spoiled(level + 1))
			return 68;
	}
	if (level > 0)
		return level;
	strcpy(depth, "4");
	pid_t child = NEED(fork());
	if (child == 0) {
		execv(self, arguments);
		_exit(69);
	}
	VAL(status_of(child));
	CHECK(spoiled(1) && clock_goes());
	DONE();
}
