// The stack grows by deep recursion to several megabytes; beyond its limit there is SIGSEGV on the other stack.
#include "report.h"
#include <setjmp.h>
#include <stdlib.h>

static sigjmp_buf back;

static void on_fault(int number)
{
	siglongjmp(back, number);
}

__attribute__((noinline)) static long descend(int depth, volatile char *above)
{
	volatile char frame[1024];
	for (unsigned i = 0; i < sizeof(frame); i += 64)
		frame[i] = depth;
	if (depth == 0)
		return above - frame > 0;
	long below = descend(depth - 1, frame);
	return below + (frame[64] == (char)depth);
}

#pragma GCC diagnostic push
#if __GNUC__ >= 12
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#endif
__attribute__((noinline)) static int descend_forever(volatile char *above)
{
	volatile char frame[1024];
	frame[0] = above[0];
	return descend_forever(frame) + frame[0];
}
#pragma GCC diagnostic pop

int main(void)
{
	volatile char top[1] = { 0 };
	VAL(descend(6000, top));

	stack_t other = { .ss_sp = malloc(65536), .ss_size = 65536 };
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };
	NEED(sigaltstack(&other, NULL));
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		VAL(descend_forever(top));
	else
		SAY("overflow caught");
	VAL(descend(6000, top));
	DONE();
}
