// POSIX timers: by signal, to a thread, none; overrun counts, remaining time, deletion, errors.
#include "report.h"
#include <sys/syscall.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile int count;
static siginfo_t seen;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
	count++;
}

int main(void)
{
	timer_t timer;
	struct itimerspec now, soon = { { 0, 0 }, { 0, 30000000 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);

	CASE("signal");
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 123 };
	ERR(timer_create(CLOCK_MONOTONIC, &event, &timer));
	ERR(timer_settime(timer, 0, &soon, NULL));
	NEED(timer_gettime(timer, &now));
	CHECK(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 30000000);
	while (!count)
		usleep(1000);
	SAY("%s code %d value %d overrun %d", signal_name(seen.si_signo), seen.si_code, seen.si_value.sival_int,
	    seen.si_overrun);
	NEED(timer_gettime(timer, &now));
	VAL(now.it_value.tv_nsec);
	CASE("overrun");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };
	NEED(timer_settime(timer, 0, &often, NULL));
	usleep(50000);
	count = 0;
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	NEED(timer_settime(timer, 0, &off, NULL));
	CHECK(count >= 1 && timer_getoverrun(timer) >= 0);
	CHECK(seen.si_signo == SIGUSR1);
	ERR(timer_delete(timer));
	ERR(timer_delete(timer));
	CASE("default event");
	count = 0;
	ERR(timer_create(CLOCK_REALTIME, NULL, &timer));
	NEED(timer_settime(timer, 0, &soon, NULL));
	while (!count)
		usleep(1000);
	SAY("%s code %d", signal_name(seen.si_signo), seen.si_code);
	NEED(timer_delete(timer));
	CASE("thread");
	count = 0;
	event = (struct sigevent){ .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	event.sigev_notify_thread_id = syscall(SYS_gettid);
	ERR(timer_create(CLOCK_MONOTONIC, &event, &timer));
	NEED(timer_settime(timer, 0, &soon, NULL));
	while (!count)
		usleep(1000);
	VAL(count);
	NEED(timer_delete(timer));
	CASE("none, absolute");
	event = (struct sigevent){ .sigev_notify = SIGEV_NONE };
	ERR(timer_create(CLOCK_MONOTONIC, &event, &timer));
	struct itimerspec then = { { 0, 0 }, { 0, 0 } };
	clock_gettime(CLOCK_MONOTONIC, &then.it_value);
	then.it_value.tv_sec += 100;
	NEED(timer_settime(timer, TIMER_ABSTIME, &then, NULL));
	NEED(timer_gettime(timer, &now));
	CHECK(now.it_value.tv_sec >= 98 && now.it_value.tv_sec <= 100);
	CASE("errors");
	ERR(timer_create(99, NULL, &timer));
	event = (struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 100 };
	ERR(timer_create(CLOCK_MONOTONIC, &event, &timer));
	soon.it_value.tv_nsec = -1;
	ERR(timer_settime(timer, 0, &soon, NULL));
	DONE();
}
