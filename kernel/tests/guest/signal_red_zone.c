// Signals that come at any time leave the 128 bytes below the stack pointer and all registers alone.
#include "report.h"
#include <sys/time.h>

static volatile int count;

static void on_alarm(int number)
{
	char scratch[512];
	memset(scratch, 0xff, sizeof(scratch));
	asm volatile("" :: "r"(scratch) : "memory");
	(void)number;
	count++;
}

__attribute__((noinline)) static unsigned long spin(volatile int *counter, int until)
{
	unsigned long wrong;
	asm volatile("mov $0x5a5a5a5a, %%r8d\n\t"
		     "mov %%r8, -8(%%rsp)\n\tmov %%r8, -64(%%rsp)\n\tmov %%r8, -128(%%rsp)\n\t"
		     "mov $7, %%r9d\n\tmov $9, %%r10d\n\txor %0, %0\n"
		     "1:\tcmp %%r8, -8(%%rsp)\n\tjne 2f\n\tcmp %%r8, -64(%%rsp)\n\tjne 2f\n\tcmp %%r8, -128(%%rsp)\n\tjne 2f\n\t"
		     "cmp $7, %%r9\n\tjne 2f\n\tcmp $9, %%r10\n\tjne 2f\n\t"
		     "cmp %2, (%1)\n\tjl 1b\n\tjmp 3f\n"
		     "2:\tmov $1, %0\n3:"
		     : "=&r"(wrong) : "r"(counter), "r"(until) : "r8", "r9", "r10", "cc", "memory");
	return wrong;
}

int main(void)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	unsigned long wrong = spin(&count, 50);
	setitimer(ITIMER_REAL, &off, NULL);
	VAL(wrong);
	CHECK(count >= 50);
	DONE();
}
