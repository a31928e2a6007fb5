// A robust mutex that a process holds when it calls execve goes to the next one as if the owner had died.
// variants: dynamic static-pie fixed
#include "report.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(void)
{
	for (int inherit = 0; inherit < 2; inherit++) {
		pthread_mutexattr_t a;
		pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		pthread_mutexattr_init(&a);
		pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
		if (inherit)
			pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
		RET(pthread_mutex_init(mutex, &a));
		pid_t child = fork();
		if (child == 0) {
			pthread_mutex_lock(mutex);
			execl("/bin/busybox", "sleep", "0.2", NULL);
			_exit(1);
		}
		usleep(50000);
		RET(pthread_mutex_lock(mutex));
		RET(pthread_mutex_consistent(mutex));
		RET(pthread_mutex_unlock(mutex));
		int status;
		CHECK(waitpid(child, &status, 0) == child);
		VAL(status);
	}
	DONE();
}
