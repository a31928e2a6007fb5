// execve gives up what the thread held: a robust mutex in shared memory has lost its owner, although the process lives.
#include "report.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	if (argc > 1) {
		char byte;
		return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
	}
	pthread_mutex_t *mutex =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	RET(pthread_mutex_init(mutex, &attributes));
	int hold[2], started[2];
	NEED(pipe2(hold, O_CLOEXEC));
	NEED(pipe2(started, O_CLOEXEC));
	pid_t child = NEED(fork());
	if (child == 0) {
		pthread_mutex_lock(mutex);
		dup2(hold[0], STDIN_FILENO);
		char *arguments[] = { argv[0], "wait", NULL };
		execv("/proc/self/exe", arguments);
		_exit(9);
	}
	close(hold[0]);
	close(started[1]);
	char byte;
	// The end of file comes when the child has become the new program.
	CHECK(read(started[0], &byte, 1) == 0);
	RET(pthread_mutex_trylock(mutex));
	RET(pthread_mutex_consistent(mutex));
	RET(pthread_mutex_unlock(mutex));
	RET(pthread_mutex_trylock(mutex));
	close(hold[1]);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	DONE();
}
