// Calls on processes take the number of any of their threads, where Linux does.
#include "report.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static pthread_barrier_t ready, done;
static pid_t number;

static void *other(void *unused)
{
	number = syscall(SYS_gettid);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&done);
	return unused;
}

int main(void)
{
	pthread_t thread;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	RET(pthread_create(&thread, NULL, other, NULL));
	pthread_barrier_wait(&ready);
	CHECK(number != getpid());
	CHECK(getpgid(number) == getpgid(0));
	CHECK(getsid(number) == getsid(0));
	struct rlimit limit;
	ERR(prlimit(number, RLIMIT_NOFILE, NULL, &limit));
	ERR(setpgid(number, 0));
	ERR(kill(number, 0));
	union sigval value = { 0 };
	ERR(sigqueue(number, 0, value));
	pthread_barrier_wait(&done);
	RET(pthread_join(thread, NULL));
	DONE();
}
