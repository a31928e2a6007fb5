// Each thread has its own name, in prctl and in /proc/self/task.
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static sem_t ready, leave;
static pid_t worker;

static void *body(void *unused)
{
	prctl(PR_SET_NAME, "worker");
	worker = syscall(SYS_gettid);
	sem_post(&ready);
	sem_wait(&leave);
	return unused;
}

int main(void)
{
	pthread_t thread;
	char name[17] = "", path[64], text[32] = "";
	sem_init(&ready, 0, 0);
	sem_init(&leave, 0, 0);
	pthread_create(&thread, NULL, body, NULL);
	sem_wait(&ready);
	prctl(PR_GET_NAME, name);
	SAY("main is %s", name);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", worker);
	int fd = NEED(open(path, O_RDONLY));
	NEED(read(fd, text, sizeof(text)));
	SAY("thread is %s", text);
	int tasks = 0;
	DIR *directory = opendir("/proc/self/task");
	for (struct dirent *entry; directory && (entry = readdir(directory));)
		tasks += entry->d_name[0] != '.';
	VAL(tasks);
	RET(pthread_setname_np(thread, "named by other"));
	RET(pthread_getname_np(thread, name, sizeof(name)));
	SAY("%s", name);
	sem_post(&leave);
	pthread_join(thread, NULL);
	DONE();
}
