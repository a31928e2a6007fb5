// The vDSO's clocks and the system calls tell the same time; gettimeofday and time agree with them.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static long long by_library(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static long long by_call(clockid_t clock)
{
	struct timespec now;
	syscall(SYS_clock_gettime, clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

int main(void)
{
	CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
	static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	for (unsigned i = 0; i < 3; i++) {
		int ordered = 0, close = 0;
		for (int round = 0; round < 200; round++) {
			long long first = by_library(clocks[i]), middle = by_call(clocks[i]), last = by_library(clocks[i]);
			ordered += first <= middle && middle <= last;
			close += last - first < 1000000000;
		}
		SAY("clock %d: ordered %d close %d", clocks[i], ordered, close);
	}
	struct timeval day;
	long long before = by_call(CLOCK_REALTIME) / 1000;
	gettimeofday(&day, NULL);
	long long after = by_call(CLOCK_REALTIME) / 1000;
	long long micro = day.tv_sec * 1000000ll + day.tv_usec;
	CHECK(before <= micro && micro <= after);
	time_t seconds = time(NULL);
	CHECK(seconds - day.tv_sec >= -1 && seconds - day.tv_sec <= 1);
	time_t stored = 0;
	CHECK(time(&stored) == stored);
	unsigned cpu = 99999, node = 99999;
	CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && cpu < 4096 && node < 1024);
	DONE();
}
