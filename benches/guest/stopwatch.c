/*
 * stopwatch: runs a command and says how long it took.
 *
 * usage: stopwatch COMMAND [ARGUMENT...]
 *
 * Prints, after what the command prints, one line:
 *     stopwatch wall=1.204311 status=0
 * with seconds of wall time and the command's exit status (128 + N when signal N ended it), and exits with that.
 * Built static-pie with the host's gcc; runs natively and in the guest unchanged.
 */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	pid_t pid;
	int status, error;
	double start;

	if (argc < 2) {
		fprintf(stderr, "usage: stopwatch COMMAND [ARGUMENT...]\n");
		return 2;
	}
	start = now();
	error = posix_spawn(&pid, argv[1], NULL, NULL, argv + 1, environ);
	if (error) {
		fprintf(stderr, "stopwatch: %s: %s\n", argv[1], strerror(error));
		return 127;
	}
	if (waitpid(pid, &status, 0) < 0) {
		perror("stopwatch: waitpid");
		return 1;
	}
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	printf("stopwatch wall=%.6f status=%d\n", now() - start, status);
	return status;
}
