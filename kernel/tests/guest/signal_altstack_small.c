// An alternate stack may be as small as MINSIGSTKSZ, as old programs know it, whatever the processor would need; only a
// handler that does not fit fails.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>

int main(void)
{
	static char memory[65536];
	stack_t stack = { .ss_sp = memory, .ss_size = 2047 }, old;
	ERR(sigaltstack(&stack, NULL));
	stack.ss_size = 2048;
	ERR(sigaltstack(&stack, NULL));
	NEED(sigaltstack(NULL, &old));
	VAL(old.ss_size);
	VAL(old.ss_flags);
	stack.ss_flags = 4;
	ERR(sigaltstack(&stack, NULL));
	stack.ss_flags = SS_ONSTACK;
	ERR(sigaltstack(&stack, NULL));
	stack.ss_flags = SS_DISABLE;
	stack.ss_size = 0;
	ERR(sigaltstack(&stack, &old));
	VAL(old.ss_flags);
	DONE();
}
