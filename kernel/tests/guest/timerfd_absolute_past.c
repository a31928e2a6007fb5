// An absolute expiry in the past has passed as often as it would have if the timer had been set then.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

static void passed(int clock)
{
	struct timespec now;
	uint64_t count = 0;
	int fd = NEED(timerfd_create(clock, TFD_NONBLOCK));
	NEED(clock_gettime(clock, &now));
	struct itimerspec setting = { { 100, 0 }, { now.tv_sec - 250, now.tv_nsec } };
	NEED(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL));
	CHECK(read(fd, &count, sizeof count) == sizeof count);
	VAL(count);
	struct itimerspec left;
	NEED(timerfd_gettime(fd, &left));
	CHECK(left.it_value.tv_sec == 49);
	ERR(read(fd, &count, sizeof count));
	setting.it_interval.tv_sec = 0;
	NEED(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL));
	CHECK(read(fd, &count, sizeof count) == sizeof count);
	VAL(count);
	close(fd);
}

int main(void)
{
	passed(CLOCK_REALTIME);
	// The machine may have started less than 250 seconds ago.
	struct timespec now;
	NEED(clock_gettime(CLOCK_MONOTONIC, &now));
	if (now.tv_sec > 250)
		passed(CLOCK_MONOTONIC);
	DONE();
}
