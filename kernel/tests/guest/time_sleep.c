// clock_nanosleep, absolute and relative, sleeps at least as long as asked, and not at all for the past.
// variants: dynamic static-pie musl
#include "report.h"
#include <time.h>

static long long now(clockid_t clock)
{
	struct timespec at;
	clock_gettime(clock, &at);
	return at.tv_sec * 1000000000ll + at.tv_nsec;
}

int main(void)
{
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	for (int i = 0; i < 3; i++) {
		long long start = now(clocks[i]), then = start + 15000000;
		struct timespec until = { then / 1000000000, then % 1000000000 };
		RET(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL));
		long long end = now(clocks[i]);
		CHECK(end >= then && end < then + 1000000000);
		RET(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL));
		struct timespec length = { 0, 15000000 };
		start = now(CLOCK_MONOTONIC);
		RET(clock_nanosleep(clocks[i], 0, &length, NULL));
		CHECK(now(CLOCK_MONOTONIC) - start >= 15000000);
	}
	struct timespec none = { 0, 0 };
	RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &none, NULL));
	none.tv_nsec = -1;
	RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &none, NULL));
	RET(clock_nanosleep(CLOCK_MONOTONIC, 77, &(struct timespec){ 0, 1 }, NULL));
	CASE("short sleeps add up");
	long long start = now(CLOCK_MONOTONIC);
	for (int i = 0; i < 50; i++)
		usleep(200);
	CHECK(now(CLOCK_MONOTONIC) - start >= 10000000);
	DONE();
}
