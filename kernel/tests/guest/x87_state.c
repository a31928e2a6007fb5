// The x87 stack and long double arithmetic survive calls and other threads' arithmetic.
#include "report.h"
#include <pthread.h>
#include <sys/syscall.h>

static int wrong[4];

static void *compute(void *argument)
{
	long index = (long)argument;
	for (int round = 0; round < 2000; round++) {
		long double sum = 0;
		for (int i = 1; i <= 40; i++) {
			sum += 1.0L / (i + index);
			if (i % 10 == 0)
				syscall(SYS_sched_yield);
		}
		long double again = 0;
		for (int i = 1; i <= 40; i++)
			again += 1.0L / (i + index);
		wrong[index] += sum != again;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[4];
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, compute, (void *)i);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		VAL(wrong[i]);
	}
	double value;
	asm volatile("fldpi\n\tfld1\n\tfldz\n\tmov %1, %%eax\n\tsyscall\n\tfaddp\n\tfaddp\n\tfstpl %0"
		     : "=m"(value) : "i"(SYS_getpid) : "rax", "rcx", "r11", "memory", "st");
	SAY("%.15f", value);
	DONE();
}
