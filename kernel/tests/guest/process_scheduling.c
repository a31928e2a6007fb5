// Nice values, policies, priorities, affinity and I/O priority: set, read back, inherited, refused.
// variants: dynamic static-pie musl
#include "report.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

// musl's library refuses these calls; the kernel's answers are what counts.
static long get_policy(void)
{
	return syscall(SYS_sched_getscheduler, 0);
}

static long set_policy(int policy, int priority)
{
	return syscall(SYS_sched_setscheduler, 0, policy, &priority);
}

int main(void)
{
	CASE("nice");
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(setpriority(PRIO_PROCESS, 0, 5));
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(setpriority(PRIO_PROCESS, 0, 100));
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(setpriority(PRIO_PROCESS, 0, -3));
	VAL(getpriority(PRIO_PROCESS, 0));
	VAL(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	ERR(setpriority(PRIO_PROCESS, 0, 0));
	ERR(setpriority(77, 0, 0));
	ERR(setpriority(PRIO_PROCESS, 999999, 0));
	ERR(syscall(SYS_getpriority, 77, 0));
	CASE("policy");
	VAL(get_policy());
	ERR(set_policy(SCHED_BATCH, 0));
	VAL(get_policy());
	ERR(set_policy(SCHED_BATCH, 1));
	ERR(set_policy(SCHED_FIFO, 0));
	ERR(set_policy(SCHED_RR, 100));
	ERR(set_policy(99, 0));
	ERR(set_policy(-1, 0));
	ERR(set_policy(SCHED_OTHER, 0));
	ERR(syscall(SYS_sched_getscheduler, 999999));
	ERR(syscall(SYS_sched_getscheduler, -5));
	int priority = 77;
	ERR(syscall(SYS_sched_getparam, 0, &priority));
	VAL(priority);
	ERR(syscall(SYS_sched_getparam, 0, NULL));
	static const int policies[] = { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, 5, 6 };
	for (int i = 0; i < 6; i++)
		SAY("policy %d: %d to %d", policies[i], sched_get_priority_min(policies[i]),
		    sched_get_priority_max(policies[i]));
	ERR(sched_get_priority_max(42));
	struct timespec slice = { 7, 7 };
	ERR(sched_rr_get_interval(0, &slice));
	CHECK(slice.tv_sec == 0 && slice.tv_nsec < 1000000000);
	CASE("attributes");
	unsigned attributes[14] = { 0 };
	ERR(syscall(SYS_sched_getattr, 0, attributes, sizeof(attributes), 0));
	CHECK(attributes[0] >= 48);
	SAY("policy %u nice %d priority %u", attributes[1], (int)attributes[4], attributes[5]);
	attributes[0] = 48;
	attributes[1] = SCHED_OTHER;
	attributes[4] = 4;
	ERR(syscall(SYS_sched_setattr, 0, attributes, 0));
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(syscall(SYS_sched_getattr, 0, attributes, 8, 0));
	ERR(syscall(SYS_sched_setattr, 0, attributes, 1));
	CASE("affinity");
	unsigned long mask[128] = { 0 };
	long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
	CHECK(size >= 8 && size % 8 == 0 && (mask[0] & 1));
	mask[0] = 1;
	ERR(syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask));
	unsigned cpu = 99;
	NEED(syscall(SYS_getcpu, &cpu, NULL, NULL));
	VAL(cpu);
	mask[0] = 0;
	ERR(syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask));
	ERR(syscall(SYS_sched_getaffinity, 0, 3, mask));
	ERR(syscall(SYS_sched_getaffinity, 999999, sizeof(mask), mask));
	CASE("input and output");
	VAL(syscall(SYS_ioprio_get, 1, 0) >> 13);
	ERR(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
	VAL(syscall(SYS_ioprio_get, 1, 0));
	ERR(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 9));
	ERR(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
	ERR(syscall(SYS_ioprio_set, 9, 0, 2 << 13));
	ERR(syscall(SYS_ioprio_get, 1, 999999));
	ERR(sched_yield());
	DONE();
}
