// setitimer in its three kinds, alarm, and what is left of them.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/time.h>
#include <time.h>

static volatile int alarms, virtuals, profiles;

static void on_signal(int number)
{
	if (number == SIGALRM)
		alarms++;
	else if (number == SIGVTALRM)
		virtuals++;
	else
		profiles++;
}

int main(void)
{
	struct itimerval off = { { 0, 0 }, { 0, 0 } }, now;
	signal(SIGALRM, on_signal);
	signal(SIGVTALRM, on_signal);
	signal(SIGPROF, on_signal);

	CASE("real");
	struct itimerval once = { { 0, 0 }, { 0, 10000 } };
	ERR(setitimer(ITIMER_REAL, &once, NULL));
	while (!alarms)
		usleep(1000);
	VAL(alarms);
	NEED(getitimer(ITIMER_REAL, &now));
	SAY("left %ld %ld", now.it_value.tv_sec, now.it_value.tv_usec);
	struct itimerval often = { { 0, 5000 }, { 0, 5000 } };
	NEED(setitimer(ITIMER_REAL, &often, NULL));
	while (alarms < 5)
		pause();
	NEED(setitimer(ITIMER_REAL, &off, &now));
	SAY("interval %ld %ld", now.it_interval.tv_sec, now.it_interval.tv_usec);
	CHECK(now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 5000);
	CASE("processor time");
	NEED(setitimer(ITIMER_VIRTUAL, &once, NULL));
	NEED(setitimer(ITIMER_PROF, &once, NULL));
	struct timespec pause_time = { 0, 40000000 };
	nanosleep(&pause_time, NULL);
	SAY("while sleeping %d %d", virtuals, profiles);
	volatile unsigned long work = 0;
	while (!virtuals || !profiles)
		work++;
	SAY("while working %d %d", virtuals, profiles);
	CASE("alarm");
	VAL(alarm(100));
	VAL(alarm(0));
	VAL(alarm(0));
	CASE("errors");
	ERR(setitimer(77, &once, NULL));
	once.it_value.tv_usec = 1000000;
	ERR(setitimer(ITIMER_REAL, &once, NULL));
	DONE();
}
