// Process 1 of a machine that is asked for too much, by the case that the first argument names. It plays the shell: while
// others take what they can get, it must go on, and put an end to them. Exits with 42 if all went as it should.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 42, PROCESSES = 200, THREADS = 1000 };

#define NEED(condition) do { if (!(condition)) { \
	fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// Works as a person at a shell would, for a while: short sleeps must not take long.
static void watch(double seconds)
{
	for (double end = now() + seconds; now() < end;) {
		double before = now();
		usleep(20000);
		NEED(now() - before < 4);
	}
}

static void run_a_command(void)
{
	int status;
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		execl("/overload", "overload", "noop", NULL);
		_exit(127);
	}
	NEED(waitpid(child, &status, 0) == child && status == 7 << 8);
}

// Ends a process group and reaps all of it.
static int end_group(pid_t group)
{
	int reaped = 0;
	double limit = now() + 20;
	while (now() < limit) {
		kill(-group, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			reaped++;
		if (kill(-group, 0) != 0 && errno == ESRCH)
			return reaped;
		usleep(1000);
	}
	fprintf(stderr, "the group does not end\n");
	exit(1);
}

static pid_t start(void (*what)(void))
{
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		setpgid(0, 0);
		what();
		_exit(3);
	}
	setpgid(child, child);
	return child;
}

static void many_processes(void)
{
	static pid_t children[PROCESSES];
	int ready[2], go[2], status;
	char byte = 0;
	NEED(pipe(ready) == 0 && pipe(go) == 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		NEED(children[i] >= 0);
		if (children[i] == 0) {
			int mine = i;
			close(go[1]);
			NEED(write(ready[1], &byte, 1) == 1);
			NEED(read(go[0], &byte, 1) == 0);
			_exit(mine == i ? i % 100 : 101);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		NEED(read(ready[0], &byte, 1) == 1);
	run_a_command();
	close(go[1]);
	for (int i = 0; i < PROCESSES; i++)
		NEED(waitpid(children[i], &status, 0) == children[i] && status == (i % 100) << 8);
}

static pthread_barrier_t barrier;
static int sum;

static void *thread(void *argument)
{
	pthread_barrier_wait(&barrier);
	__atomic_fetch_add(&sum, (int)(long)argument, __ATOMIC_RELAXED);
	pthread_barrier_wait(&barrier);
	return argument;
}

static void many_threads(void)
{
	static pthread_t threads[THREADS];
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		NEED((errno = pthread_create(&threads[i], NULL, thread, (void *)i)) == 0);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	NEED(sum == THREADS * (THREADS - 1) / 2);
	run_a_command();
	for (long i = 0; i < THREADS; i++) {
		void *result;
		NEED(pthread_join(threads[i], &result) == 0 && result == (void *)i);
	}
}

static void crowd(void)
{
	many_processes();
	many_threads();
	many_processes();
}

// More than half of the memory cannot be copied: fork says so, and works again when there is less.
static void no_memory(void)
{
	size_t size = (size_t)40 << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(memory != MAP_FAILED);
	memset(memory, 1, size);
	for (int i = 0; i < 100; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(1);
		NEED(child == -1 && errno == ENOMEM);
	}
	for (size_t at = 0; at < size; at += 4096)
		NEED(memory[at] == 1);
	munmap(memory, size / 2);
	run_a_command();
}

static void fork_for_ever(void)
{
	for (;;)
		fork();
}

static void bomb(void)
{
	pid_t group = start(fork_for_ever);
	watch(3);
	printf("%d processes reaped\n", end_group(group));
	run_a_command();
}

static void take_memory_for_ever(void)
{
	for (;;) {
		char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory != MAP_FAILED)
			memset(memory, 1, 1 << 20);
	}
}

// The one that takes everything goes, not a bystander who needs a little when all is gone.
static void hog(void)
{
	int status;
	for (int round = 0; round < 5; round++) {
		pid_t child = start(take_memory_for_ever);
		double limit = now() + 20;
		for (;;) {
			static char *little;
			little = mmap(NULL, 65536 * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			NEED(little != MAP_FAILED);
			memset(little, 1, 65536 * 2);
			munmap(little, 65536 * 2);
			usleep(1000);
			pid_t ended = waitpid(child, &status, WNOHANG);
			NEED(ended >= 0 && now() < limit);
			if (ended == child)
				break;
		}
		NEED(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		run_a_command();
	}
}

static void write_for_ever(void)
{
	static char text[65536];
	memset(text, 'y', sizeof text);
	for (;;)
		if (write(1, text, sizeof text) < 0)
			_exit(4);
}

static void flood(void)
{
	pid_t group = start(write_for_ever);
	watch(1.5);
	run_a_command();
	end_group(group);
	run_a_command();
}

static void spin_for_ever(void)
{
	struct sched_param top = { .sched_priority = 99 };
	NEED(sched_setscheduler(0, SCHED_FIFO, &top) == 0);
	for (;;)
		__asm__ volatile("");
}

static void real_time(void)
{
	pid_t group = start(spin_for_ever);
	watch(1.5);
	run_a_command();
	end_group(group);
	run_a_command();
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } cases[] = {
		{ "crowd", crowd }, { "no-memory", no_memory }, { "bomb", bomb },
		{ "hog", hog }, { "flood", flood }, { "real-time", real_time },
	};
	if (argc == 2 && strcmp(argv[1], "noop") == 0)
		return 7;
	for (unsigned i = 0; argc == 2 && i < sizeof cases / sizeof cases[0]; i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return SUCCESS;
		}
	}
	return 2;
}
