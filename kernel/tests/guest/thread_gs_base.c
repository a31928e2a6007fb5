// A GS base of the program's own stays with its thread over calls, signals, switches and preemption; threads inherit it,
// and execve drops it.
// variants: dynamic static-pie musl
#include "report.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { ARCH_SET_GS = 0x1001, ARCH_GET_GS = 0x1004 };

static unsigned long blocks[3][4] = { { 1, 11, 111, 1111 }, { 2, 22, 222, 2222 }, { 3, 33, 333, 3333 } };
static volatile int alarms, wrong_in_handler;

static unsigned long gs_word(void)
{
	unsigned long value;
	asm volatile("mov %%gs:8, %0" : "=r"(value));
	return value;
}

static unsigned long gs_base(void)
{
	unsigned long base = 77;
	syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
	return base;
}

static void on_alarm(int number)
{
	(void)number;
	alarms++;
	wrong_in_handler += gs_word() % 11 != 0;
}

static long work(unsigned long expected)
{
	long wrong = 0;
	for (int round = 0; round < 200; round++) {
		syscall(SYS_getpid);
		wrong += gs_word() != expected;
		for (volatile int i = 0; i < 20000; i++)
			;
		wrong += gs_word() != expected;
		if (round % 20 == 0)
			usleep(200);
		wrong += gs_word() != expected;
	}
	return wrong;
}

static void *thread(void *block)
{
	long inherited = gs_word() == 11;
	if (block && syscall(SYS_arch_prctl, ARCH_SET_GS, block) != 0)
		return (void *)-1;
	return (void *)(work(block ? ((unsigned long *)block)[1] : 11) + !inherited);
}

int main(int argc, char **argv)
{
	pthread_t threads[3];
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };

	if (argc > 1) {
		CHECK(gs_base() == 0);
		return report_failures ? 1 : 0;
	}
	CHECK(gs_base() == 0);
	for (int i = 0; i < 50; i++)
		syscall(SYS_getpid);
	ERR(syscall(SYS_arch_prctl, ARCH_SET_GS, 0xffff800000000000));
	ERR(syscall(SYS_arch_prctl, ARCH_SET_GS, blocks[0]));
	VAL(gs_word());
	CHECK(gs_base() == (unsigned long)blocks[0]);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	pthread_create(&threads[0], NULL, thread, NULL);
	pthread_create(&threads[1], NULL, thread, blocks[1]);
	pthread_create(&threads[2], NULL, thread, blocks[2]);
	VAL(work(11));
	for (int i = 0; i < 3; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		VAL((long)wrong);
	}
	while (alarms < 3)
		pause();
	setitimer(ITIMER_REAL, &off, NULL);
	VAL(wrong_in_handler);
	VAL(gs_word());
	execl(argv[0], argv[0], "again", NULL);
	return 1;
}
