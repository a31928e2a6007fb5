// Every clock runs forward; realtime and monotonic agree over a sleep; resolutions; process and thread time.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/time.h>
#include <time.h>

static long long nanoseconds(clockid_t clock)
{
	struct timespec now;
	return clock_gettime(clock, &now) == 0 ? now.tv_sec * 1000000000ll + now.tv_nsec : -1;
}

int main(void)
{
	static const struct {
		clockid_t clock;
		const char *name;
	} clocks[] = { { CLOCK_REALTIME, "REALTIME" }, { CLOCK_MONOTONIC, "MONOTONIC" },
		       { CLOCK_PROCESS_CPUTIME_ID, "PROCESS_CPUTIME" }, { CLOCK_THREAD_CPUTIME_ID, "THREAD_CPUTIME" },
		       { CLOCK_MONOTONIC_RAW, "MONOTONIC_RAW" }, { CLOCK_REALTIME_COARSE, "REALTIME_COARSE" },
		       { CLOCK_MONOTONIC_COARSE, "MONOTONIC_COARSE" }, { CLOCK_BOOTTIME, "BOOTTIME" } };
	for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct timespec resolution = { 9, 9 };
		int backwards = 0;
		long long last = nanoseconds(clocks[i].clock);
		for (int round = 0; round < 20000; round++) {
			long long now = nanoseconds(clocks[i].clock);
			backwards += now < last;
			last = now;
		}
		int answer = clock_getres(clocks[i].clock, &resolution);
		SAY("%s: positive %d backwards %d resolution %d fine %d", clocks[i].name, last > 0, backwards,
		    answer, resolution.tv_sec == 0 && resolution.tv_nsec > 0 && resolution.tv_nsec <= 10000000);
	}
	CASE("a sleep on all of them");
	struct timespec pause = { 0, 50000000 };
	long long real = nanoseconds(CLOCK_REALTIME), mono = nanoseconds(CLOCK_MONOTONIC), boot = nanoseconds(CLOCK_BOOTTIME);
	long long cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
	nanosleep(&pause, NULL);
	real = nanoseconds(CLOCK_REALTIME) - real;
	mono = nanoseconds(CLOCK_MONOTONIC) - mono;
	boot = nanoseconds(CLOCK_BOOTTIME) - boot;
	cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	CHECK(mono >= 50000000 && mono < 2000000000);
	CHECK(real > mono - 5000000 && real < mono + 20000000);
	CHECK(boot >= mono - 5000000);
	CHECK(cpu < 45000000);
	CHECK(nanoseconds(CLOCK_REALTIME) > 1700000000ll * 1000000000);
	CASE("processor time grows with work");
	cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
	for (volatile int i = 0; i < 20000000; i++)
		;
	CHECK(nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu > 1000000);
	CHECK(clock() > 0);
	CASE("errors");
	ERR(clock_gettime(77, &pause));
	ERR(clock_getres(77, &pause));
	ERR(clock_settime(CLOCK_MONOTONIC, &pause));
	DONE();
}
