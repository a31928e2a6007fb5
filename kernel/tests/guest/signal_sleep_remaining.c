// An interrupted nanosleep tells what was left; an absolute one does not; usleep and sleep go the same way.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/time.h>
#include <time.h>

static void on_alarm(int number)
{
	(void)number;
}

int main(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 50000 } };
	struct timespec request = { 2, 500000000 }, left = { 77, 77 };
	struct sigaction action = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	ERR(nanosleep(&request, &left));
	CHECK(left.tv_sec == 2 && left.tv_nsec > 0 && left.tv_nsec < 500000000);
	setitimer(ITIMER_REAL, &soon, NULL);
	left = (struct timespec){ 77, 77 };
	RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &request, &left));
	CHECK(left.tv_sec == 2 && left.tv_nsec < 500000000);
	struct timespec then;
	clock_gettime(CLOCK_MONOTONIC, &then);
	then.tv_sec += 5;
	setitimer(ITIMER_REAL, &soon, NULL);
	left = (struct timespec){ 77, 77 };
	RET(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, &left));
	SAY("%ld %ld", left.tv_sec, left.tv_nsec);
	setitimer(ITIMER_REAL, &soon, NULL);
	VAL(sleep(3) >= 2);
	CASE("ignored signals do not interrupt");
	signal(SIGALRM, SIG_IGN);
	setitimer(ITIMER_REAL, &soon, NULL);
	request = (struct timespec){ 0, 100000000 };
	ERR(nanosleep(&request, NULL));
	CASE("errors");
	request.tv_nsec = 1000000000;
	ERR(nanosleep(&request, NULL));
	request = (struct timespec){ -1, 0 };
	ERR(nanosleep(&request, NULL));
	RET(clock_nanosleep(99, 0, &request, NULL));
	DONE();
}
