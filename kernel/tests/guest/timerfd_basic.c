// timerfd: one shot, periodic counts, disarm, remaining time, absolute time, non-blocking and poll.
// variants: dynamic static-pie musl
#include "report.h"
#include <poll.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

int main(void)
{
	uint64_t expirations = 0;
	struct itimerspec now;
	int fd = NEED(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
	ERR(read(fd, &expirations, 8));
	struct itimerspec shot = { { 0, 0 }, { 0, 50000000 } };
	ERR(timerfd_settime(fd, 0, &shot, NULL));
	ERR(read(fd, &expirations, 8));
	NEED(timerfd_gettime(fd, &now));
	CHECK(now.it_value.tv_sec == 0 && now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 50000000);
	struct pollfd entry = { fd, POLLIN, 0 };
	VAL(poll(&entry, 1, 5000));
	VAL(read(fd, &expirations, 8));
	VAL(expirations);
	ERR(read(fd, &expirations, 8));
	NEED(timerfd_gettime(fd, &now));
	VAL(now.it_value.tv_nsec);

	CASE("periodic");
	int blocking = NEED(timerfd_create(CLOCK_MONOTONIC, 0));
	struct itimerspec often = { { 0, 5000000 }, { 0, 5000000 } };
	NEED(timerfd_settime(blocking, 0, &often, NULL));
	uint64_t total = 0;
	for (int i = 0; i < 3; i++) {
		VAL(read(blocking, &expirations, 8));
		total += expirations;
	}
	CHECK(total >= 3);
	struct timespec pause = { 0, 30000000 };
	nanosleep(&pause, NULL);
	VAL(read(blocking, &expirations, 8));
	CHECK(expirations >= 5);
	struct itimerspec off = { { 0, 0 }, { 0, 0 } }, old;
	ERR(timerfd_settime(blocking, 0, &off, &old));
	VAL(old.it_interval.tv_nsec);
	entry.fd = blocking;
	VAL(poll(&entry, 1, 15));

	CASE("absolute");
	struct timespec base;
	clock_gettime(CLOCK_MONOTONIC, &base);
	struct itimerspec past = { { 0, 0 }, base };
	NEED(timerfd_settime(blocking, TFD_TIMER_ABSTIME, &past, NULL));
	VAL(read(blocking, &expirations, 8));
	VAL(expirations);
	CASE("errors");
	ERR(timerfd_create(99, 0));
	ERR(timerfd_create(CLOCK_MONOTONIC, 1));
	shot.it_value.tv_nsec = 1000000000;
	ERR(timerfd_settime(fd, 0, &shot, NULL));
	ERR(timerfd_settime(0x500, 0, &off, NULL));
	ERR(read(fd, &expirations, 4));
	DONE();
}
