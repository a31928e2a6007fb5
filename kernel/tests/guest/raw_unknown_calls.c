// Numbers that no system call has are ENOSYS, negative and huge ones too; the high half of rax counts.
// variants: raw
#include "freestanding.h"

__attribute__((used, noreturn)) void entry(word *stack)
{
	(void)stack;
	VAL(CALL0(1000));
	VAL(CALL0(600));
	VAL(CALL0(100000));
	VAL(CALL0(-1));
	VAL(CALL0(0x7fffffff));
	VAL(CALL0(-4096));
	VAL(CALL0(400));
	VAL(CALL0(350));
	CHECK(CALL0(SYS_getpid) > 0);
	CALL1(SYS_exit_group, report_failures ? 1 : 0);
	__builtin_unreachable();
}

START;
