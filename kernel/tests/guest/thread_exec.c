// execve in a thread ends all others; the new program has one thread and the process's pid.
#include "report.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>

static char *program;
static char pid_text[16];

static void *sleeper(void *unused)
{
	sleep(100);
	return unused;
}

static void *execing(void *unused)
{
	char *arguments[] = { program, pid_text, NULL }, *environment[] = { NULL };
	usleep(5000);
	execve(program, arguments, environment);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	if (argc > 1) {
		SAY("same pid %d, tid is pid %d", atoi(argv[1]) == getpid(), syscall(SYS_gettid) == getpid());
		return 0;
	}
	program = argv[0];
	snprintf(pid_text, sizeof(pid_text), "%d", getpid());
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, sleeper, NULL);
	pthread_create(&thread, NULL, execing, NULL);
	sleep(100);
	return 1;
}
