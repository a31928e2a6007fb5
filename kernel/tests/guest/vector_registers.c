// xmm, ymm, zmm, mask registers, MXCSR and the x87 control word survive system calls, preemption and signals.
#include "report.h"
#include <cpuid.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define THREADS 4

static volatile int alarms;
static volatile int wide;
static int bad[THREADS][4];

static int enabled(void)
{
	unsigned a, b, c, d, low, high;
	__cpuid(1, a, b, c, d);
	if (!(c & (1 << 27)) || !(c & (1 << 28)))
		return 0;
	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6)
		return 0;
	__cpuid_count(7, 0, a, b, c, d);
	return (low & 0xe6) == 0xe6 && (b & (1 << 16)) && (b & (1 << 30)) ? 2 : 1;
}

// Dirties what a handler may dirty.
__attribute__((noinline, target("avx2")))
static void dirty_ymm(void)
{
	asm volatile("vpcmpeqd %%ymm1, %%ymm1, %%ymm1\n\tvmovaps %%ymm1, %%ymm15\n\tvmovaps %%ymm1, %%ymm0" ::: "xmm0", "xmm1", "xmm15");
}

__attribute__((noinline, target("avx512f,avx512bw")))
static void dirty_zmm(void)
{
	asm volatile("vpternlogd $255, %%zmm16, %%zmm16, %%zmm16\n\tvmovaps %%zmm16, %%zmm31\n\tkxnorq %%k3, %%k3, %%k3"
		     ::: "xmm16", "xmm31", "k3");
}

static void on_alarm(int number)
{
	uint32_t control = 0x1f80;
	(void)number;
	alarms++;
	asm volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm7, %%xmm7\n\tpcmpeqd %%xmm15, %%xmm15\n\tldmxcsr %0\n\tfninit"
		     :: "m"(control) : "xmm0", "xmm7", "xmm15");
	if (wide >= 1)
		dirty_ymm();
	if (wide >= 2)
		dirty_zmm();
}

// Fills registers, makes the call or spins `spin` times, stores them again.
__attribute__((noinline, target("avx512f,avx512bw")))
static uint64_t hold_zmm(const void *in, void *out, uint64_t mask, long number, long spin)
{
	asm volatile("vmovaps (%[in]), %%zmm0\n\tvmovaps %%zmm0, %%zmm7\n\tvmovaps %%zmm0, %%zmm15\n\t"
		     "vmovaps %%zmm0, %%zmm16\n\tvmovaps %%zmm0, %%zmm31\n\tkmovq %[mask], %%k3\n"
		     "1:\tmov %[number], %%rax\n\ttest %%rax, %%rax\n\tjs 2f\n\tsyscall\n"
		     "2:\tdec %[spin]\n\tjnz 1b\n\t"
		     "vmovaps %%zmm0, (%[out])\n\tvmovaps %%zmm7, 64(%[out])\n\tvmovaps %%zmm15, 128(%[out])\n\t"
		     "vmovaps %%zmm16, 192(%[out])\n\tvmovaps %%zmm31, 256(%[out])\n\tkmovq %%k3, %[mask]\n\tvzeroupper"
		     : [spin] "+r"(spin), [mask] "+r"(mask)
		     : [in] "r"(in), [out] "r"(out), [number] "r"(number)
		     : "rax", "rcx", "r11", "memory", "xmm0", "xmm7", "xmm15", "xmm16", "xmm31", "k3", "cc");
	return mask;
}

__attribute__((noinline, target("avx")))
static void hold_ymm(const void *in, void *out, long number, long spin)
{
	asm volatile("vmovaps (%[in]), %%ymm0\n\tvmovaps %%ymm0, %%ymm7\n\tvmovaps %%ymm0, %%ymm15\n"
		     "1:\tmov %[number], %%rax\n\ttest %%rax, %%rax\n\tjs 2f\n\tsyscall\n"
		     "2:\tdec %[spin]\n\tjnz 1b\n\t"
		     "vmovaps %%ymm0, (%[out])\n\tvmovaps %%ymm7, 64(%[out])\n\tvmovaps %%ymm15, 128(%[out])\n\tvzeroupper"
		     : [spin] "+r"(spin)
		     : [in] "r"(in), [out] "r"(out), [number] "r"(number)
		     : "rax", "rcx", "r11", "memory", "xmm0", "xmm7", "xmm15", "cc");
}

__attribute__((noinline))
static void hold_xmm(const void *in, void *out, long number, long spin)
{
	asm volatile("movaps (%[in]), %%xmm0\n\tmovaps %%xmm0, %%xmm7\n\tmovaps %%xmm0, %%xmm15\n"
		     "1:\tmov %[number], %%rax\n\ttest %%rax, %%rax\n\tjs 2f\n\tsyscall\n"
		     "2:\tdec %[spin]\n\tjnz 1b\n\t"
		     "movaps %%xmm0, (%[out])\n\tmovaps %%xmm7, 64(%[out])\n\tmovaps %%xmm15, 128(%[out])"
		     : [spin] "+r"(spin)
		     : [in] "r"(in), [out] "r"(out), [number] "r"(number)
		     : "rax", "rcx", "r11", "memory", "xmm0", "xmm7", "xmm15", "cc");
}

// Each thread fills its registers with its own pattern, then makes calls or spins, and looks again.
static void *check(void *argument)
{
	int index = (int)(long)argument;
	uint64_t in[8] __attribute__((aligned(64))), out[8][8] __attribute__((aligned(64)));
	uint64_t mask_in = 0x0123456789abcdef * (index + 1), mask_out = mask_in;
	uint32_t control = 0x1f80 | (index & 3) << 13, control_out;
	uint16_t x87 = 0x037f | (index & 3) << 10, x87_out;
	for (int i = 0; i < 8; i++)
		in[i] = 0x1111111111111111 * (index + 1) + i;
	for (int round = 0; round < 150; round++) {
		long number = round % 3 == 0 ? SYS_getpid : round % 3 == 1 ? SYS_sched_yield : -1;
		long spin = number < 0 ? 400000 : 1;
		memset(out, 0, sizeof(out));
		asm volatile("ldmxcsr %0\n\tfldcw %1" :: "m"(control), "m"(x87));
		if (wide == 2)
			mask_out = hold_zmm(in, out, mask_in, number, spin);
		else if (wide == 1)
			hold_ymm(in, out, number, spin);
		else
			hold_xmm(in, out, number, spin);
		asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(control_out), "=m"(x87_out));
		int registers = wide == 2 ? 5 : 3, bytes = wide == 2 ? 64 : wide == 1 ? 32 : 16;
		for (int i = 0; i < registers; i++)
			bad[index][0] += memcmp(out[i], in, bytes) != 0;
		bad[index][1] += mask_out != mask_in;
		bad[index][2] += (control_out & ~0x3f) != control;
		bad[index][3] += x87_out != x87;
	}
	control = 0x1f80;
	asm volatile("ldmxcsr %0\n\tfninit" :: "m"(control));
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, off = { { 0, 0 }, { 0, 0 } };
	int best = enabled();
	signal(SIGALRM, on_alarm);
	for (wide = 0; wide <= best; wide++) {
		memset(bad, 0, sizeof(bad));
		setitimer(ITIMER_REAL, &often, NULL);
		for (long i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, check, (void *)i);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		setitimer(ITIMER_REAL, &off, NULL);
		for (int i = 0; i < THREADS; i++)
			SAY("width %d thread %d: vectors %d masks %d mxcsr %d x87 %d", wide, i, bad[i][0], bad[i][1], bad[i][2],
			    bad[i][3]);
	}
	CHECK(alarms > 10);
	DONE();
}
