// uname, sysinfo, getrusage, times, priorities, getcpu, affinity, host name: fields and their relations.
#include "report.h"
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/time.h>

int main(void)
{
	struct utsname name;
	struct sysinfo info;
	struct rusage usage;
	struct tms times_used;
	NEED(uname(&name));
	SAY("%s %s", name.sysname, name.machine);
	CHECK(name.release[0] >= '0' && name.release[0] <= '9' && strchr(name.release, '.'));
	CHECK(name.version[0] && name.nodename[0]);
	ERR(sethostname("flat", 4));
	NEED(uname(&name));
	SAY("%s", name.nodename);
	ERR(syscall(SYS_sethostname, "x", -1));
	ERR(sysinfo(&info));
	CHECK(info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1 && info.procs >= 1);
	CHECK(info.uptime >= 0);
	volatile unsigned long work = 0;
	for (int i = 0; i < 30000000; i++)
		work += i;
	ERR(getrusage(RUSAGE_SELF, &usage));
	CHECK(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec > 0);
	CHECK(usage.ru_utime.tv_sec < 5 && usage.ru_stime.tv_sec < 5);
	ERR(getrusage(RUSAGE_THREAD, &usage));
	ERR(getrusage(99, &usage));
	CHECK(times(&times_used) != (clock_t)-1);
	CHECK(times_used.tms_utime >= 0 && times_used.tms_cutime == 0);
	CASE("priority");
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(setpriority(PRIO_PROCESS, 0, 5));
	VAL(getpriority(PRIO_PROCESS, 0));
	VAL(nice(3));
	ERR(setpriority(PRIO_PROCESS, 0, 100));
	VAL(getpriority(PRIO_PROCESS, 0));
	ERR(getpriority(77, 0));
	ERR(setpriority(PRIO_PROCESS, 999999, 0));
	CASE("scheduler");
	cpu_set_t set;
	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 1);
	int cpu = sched_getcpu();
	CHECK(cpu >= 0 && CPU_ISSET(cpu, &set));
	VAL(sched_getscheduler(0));
	ERR(sched_yield());
	VAL(sched_get_priority_max(SCHED_FIFO));
	ERR(sched_getaffinity(999999, sizeof(set), &set));
	DONE();
}
