// fork in a program with threads: the child has the calling one only, locks taken by atfork handlers are usable.
// variants: dynamic static-pie fixed
#include "report.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;

static void prepare(void)
{
	pthread_mutex_lock(&mutex);
}

static void release(void)
{
	pthread_mutex_unlock(&mutex);
}

static void *worker(void *unused)
{
	while (!stop) {
		pthread_mutex_lock(&mutex);
		sched_yield();
		pthread_mutex_unlock(&mutex);
	}
	return unused;
}

static int threads(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/task");
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

int main(void)
{
	pthread_t thread[3];
	int status, right = 0;
	pthread_atfork(prepare, release, release);
	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, worker, NULL);
	VAL(threads());
	for (int i = 0; i < 20; i++) {
		pid_t child = NEED(fork());
		if (child == 0) {
			pthread_mutex_lock(&mutex);
			_exit(threads() + 10);
		}
		waitpid(child, &status, 0);
		right += WEXITSTATUS(status) == 11;
	}
	VAL(right);
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	DONE();
}
