// sigwait in one thread takes process signals that all threads block; a handler runs in the thread that is open.
#include "report.h"
#include <pthread.h>
#include <sys/syscall.h>

static sigset_t set;
static volatile int handled_by;
static volatile pid_t open_thread;
static volatile int stop, taken;

static void on_signal(int number)
{
	(void)number;
	handled_by = syscall(SYS_gettid);
}

static void *waiter(void *unused)
{
	int number = 0;
	for (int i = 0; i < 3; i++) {
		sigwait(&set, &number);
		SAY("waited for %s", signal_name(number));
		taken++;
	}
	return unused;
}

static void *unblocked(void *unused)
{
	sigset_t none;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	open_thread = syscall(SYS_gettid);
	while (!stop)
		usleep(500);
	return unused;
}

int main(void)
{
	pthread_t thread;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	static const int numbers[] = { SIGUSR1, SIGUSR2, SIGUSR1 };
	for (int i = 0; i < 3; i++) {
		kill(getpid(), numbers[i]);
		while (taken <= i)
			usleep(500);
	}
	pthread_join(thread, NULL);
	CASE("the open thread");
	signal(SIGUSR1, on_signal);
	pthread_create(&thread, NULL, unblocked, NULL);
	while (!open_thread)
		usleep(500);
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 2000 && !handled_by; i++)
		usleep(500);
	CHECK(handled_by == open_thread);
	stop = 1;
	pthread_join(thread, NULL);
	DONE();
}
