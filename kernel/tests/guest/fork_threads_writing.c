// A process forks while its threads write: the child's memory stands still, the threads lose no write; the children vfork
// and execute programs, and end out of order.
// variants: dynamic static-pie
#include "report.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define THREADS 3
#define PAGES_EACH 150

static volatile unsigned *memory[THREADS];
static volatile int stop;
static unsigned rounds[THREADS];

static void *writer(void *argument)
{
	long me = (long)argument;
	while (!stop) {
		for (int page = 0; page < PAGES_EACH; page++)
			memory[me][page * PAGE / 4]++;
		rounds[me]++;
		sched_yield();
	}
	return NULL;
}

static unsigned long sum(void)
{
	unsigned long total = 0;
	for (int t = 0; t < THREADS; t++)
		for (int page = 0; page < PAGES_EACH; page++)
			total = total * 31 + memory[t][page * PAGE / 4];
	return total;
}

static int execute(void)
{
	int status = -1;
	pid_t child = vfork();
	if (child == 0) {
		execlp("busybox", "busybox", "true", NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	return status;
}

int main(void)
{
	pthread_t threads[THREADS];
	pid_t children[6];
	int status, wrong = 0;
	for (long t = 0; t < THREADS; t++) {
		memory[t] = mmap(NULL, PAGES_EACH * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pthread_create(&threads[t], NULL, writer, (void *)t);
	}
	for (int i = 0; i < 6; i++) {
		usleep(2000);
		children[i] = NEED(fork());
		if (children[i] == 0) {
			unsigned long before = sum();
			int bad = execute();
			usleep((6 - i) * 3000);
			for (int t = 0; t < THREADS; t++)
				memory[t][i] = 7;
			memory[0][i] = 0;
			_exit(bad ? 1 : before == 0 && i > 3 ? 2 : 0);
		}
	}
	for (int i = 0; i < 6; i++) {
		waitpid(children[(i * 5) % 6], &status, 0);
		wrong |= status;
	}
	VAL(wrong);
	stop = 1;
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < THREADS; t++)
		for (int page = 0; page < PAGES_EACH; page++)
			wrong |= memory[t][page * PAGE / 4] != rounds[t];
	VAL(wrong);
	DONE();
}
