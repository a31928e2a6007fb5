/*
 * soak_process: makes and ends processes and threads, many times over.
 *
 * usage: soak_process CYCLES THREADS SEED
 *
 * CYCLES processes are forked, execute this program, and are waited for; then THREADS threads are made and joined. Both go
 * in batches of one to eight that the seed draws. A tenth of the processes end without executing anything, and a tenth are
 * killed. About a hundred times, and at the end, prints
 *     soak phase=processes done=1000 free_kb=503212
 * and at last `soak end`. Anything that goes wrong is told on standard error and ends it with status 1.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* the pause lets whoever reads the reports look at the machine as it is */
enum { BATCH = 8, REPORTS = 100, PAUSE_US = 20000 };

extern char **environ;
static unsigned seed;

static unsigned draw(unsigned below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long free_kb(void)
{
	char line[128];
	long value = -1;
	FILE *f = fopen("/proc/meminfo", "r");
	if (!f)
		fail("/proc/meminfo");
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %ld", &value) == 1)
			break;
	fclose(f);
	return value;
}

static void report(const char *phase, long done)
{
	printf("soak phase=%s done=%ld free_kb=%ld\n", phase, done, free_kb());
	fflush(stdout);
	usleep(PAUSE_US);
}

/* what the child does, and the status that it must end with */
enum end { EXECUTE, EXIT, KILLED };

static pid_t start(enum end end)
{
	char *noop[] = { "soak_process", "noop", NULL };
	pid_t child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		if (end == EXECUTE)
			execve("/proc/self/exe", noop, environ);
		if (end == KILLED)
			for (;;)
				pause();
		_exit(end == EXIT ? 3 : 127);
	}
	if (end == KILLED && kill(child, SIGKILL) != 0)
		fail("kill");
	return child;
}

static void finish(pid_t child, enum end end)
{
	int status;
	if (waitpid(child, &status, 0) != child)
		fail("waitpid");
	int expected = end == EXECUTE ? 5 << 8 : end == EXIT ? 3 << 8 : SIGKILL;
	if (status != expected) {
		fprintf(stderr, "a child ended with %#x instead of %#x\n", status, expected);
		exit(1);
	}
}

static void processes(long cycles)
{
	long step = cycles > REPORTS ? cycles / REPORTS : 1, next = step;
	for (long done = 0; done < cycles;) {
		pid_t children[BATCH];
		enum end ends[BATCH];
		int batch = 1 + draw(BATCH);
		if (batch > cycles - done)
			batch = cycles - done;
		for (int i = 0; i < batch; i++) {
			unsigned kind = draw(10);
			ends[i] = kind == 0 ? EXIT : kind == 1 ? KILLED : EXECUTE;
			children[i] = start(ends[i]);
		}
		for (int i = 0; i < batch; i++)
			finish(children[i], ends[i]);
		done += batch;
		if (done >= next || done == cycles) {
			report("processes", done);
			next = done + step;
		}
	}
}

static void *work(void *argument)
{
	char local[2000];
	memset(local, (int)(long)argument, sizeof local);
	return local[999] == (char)(long)argument ? argument : NULL;
}

static void threads(long count)
{
	long step = count > REPORTS ? count / REPORTS : 1, next = step;
	for (long done = 0; done < count;) {
		pthread_t made[BATCH];
		int batch = 1 + draw(BATCH);
		if (batch > count - done)
			batch = count - done;
		for (int i = 0; i < batch; i++)
			if (pthread_create(&made[i], NULL, work, (void *)(long)(i + 1)) != 0)
				fail("pthread_create");
		for (int i = 0; i < batch; i++) {
			void *result;
			if (pthread_join(made[i], &result) != 0 || result != (void *)(long)(i + 1))
				fail("pthread_join");
		}
		done += batch;
		if (done >= next || done == count) {
			report("threads", done);
			next = done + step;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "noop") == 0)
		return 5;
	if (argc != 4) {
		fprintf(stderr, "usage: soak_process CYCLES THREADS SEED\n");
		return 2;
	}
	seed = strtoul(argv[3], NULL, 0);
	report("start", 0);
	processes(atol(argv[1]));
	threads(atol(argv[2]));
	puts("soak end");
	return 0;
}
