// Process 1 counts time in ticks while its child writes more to the console than the host takes for a while.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 100000, SUCCESS = 42, STOOD_STILL = 43, LONGEST_MILLISECONDS = 3000 };

static long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
	long longest = 0, last = milliseconds();

	if (fork() == 0) {
		for (int i = 0; i < LINES; i++)
			printf("line %d\n", i);
		fflush(stdout);
		_exit(0);
	}
	while (waitpid(-1, NULL, WNOHANG) == 0) {
		usleep(10000);
		long now = milliseconds();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	dprintf(1, "longest tick %ld ms\n", longest);
	return longest < LONGEST_MILLISECONDS ? SUCCESS : STOOD_STILL;
}
