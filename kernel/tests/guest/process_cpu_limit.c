// RLIMIT_CPU: SIGXCPU at the soft limit, and the soft limit moves on by a second.
#include "report.h"
#include <sys/resource.h>
#include <time.h>

static volatile int seen;

static void on_limit(int number)
{
	seen = number;
}

int main(void)
{
	struct rlimit limit = { 1, 20 };
	struct timespec used;
	signal(SIGXCPU, on_limit);
	ERR(setrlimit(RLIMIT_CPU, &limit));
	while (!seen)
		;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	SAY("%s", signal_name(seen));
	// A tick may have been counted whole.
	long milliseconds = used.tv_sec * 1000 + used.tv_nsec / 1000000;
	CHECK(milliseconds > 900 && milliseconds < 1500);
	NEED(getrlimit(RLIMIT_CPU, &limit));
	SAY("soft %ld hard %ld", (long)limit.rlim_cur, (long)limit.rlim_max);
	DONE();
}
