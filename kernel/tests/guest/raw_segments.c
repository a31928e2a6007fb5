// arch_prctl sets and gets FS and GS; FS keeps its value over calls, and bad addresses are refused.
// variants: raw
#include "freestanding.h"

enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS };

static word fs_block[4] = { 11, 22, 33, 44 };

__attribute__((used, noreturn)) void entry(word *stack)
{
	word value = 1, read = 0;
	(void)stack;
	VAL(CALL2(SYS_arch_prctl, ARCH_GET_FS, &value));
	VAL(value);
	VAL(CALL2(SYS_arch_prctl, ARCH_GET_GS, &value));
	VAL(value);
	VAL(CALL2(SYS_arch_prctl, ARCH_SET_FS, fs_block));
	int right = 0;
	for (int i = 0; i < 100; i++) {
		CALL0(i % 2 ? SYS_getpid : 24);
		asm volatile("mov %%fs:8, %0" : "=r"(read));
		right += read == 22;
	}
	VAL(right);
	VAL(CALL2(SYS_arch_prctl, ARCH_GET_FS, &value));
	CHECK(value == (word)fs_block);
	VAL(CALL2(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000));
	VAL(CALL2(SYS_arch_prctl, ARCH_GET_FS, 16));
	VAL(CALL2(SYS_arch_prctl, 0x9999, 0));
	VAL(CALL2(SYS_arch_prctl, ARCH_SET_FS, 0));
	VAL(CALL2(SYS_arch_prctl, ARCH_SET_GS, fs_block));
	asm volatile("mov %%gs:16, %0" : "=r"(read));
	VAL(read);
	CALL0(SYS_getpid);
	asm volatile("mov %%gs:24, %0" : "=r"(read));
	VAL(read);
	VAL(CALL2(SYS_arch_prctl, ARCH_GET_GS, &value));
	CHECK(value == (word)fs_block);
	CALL1(SYS_exit_group, report_failures ? 1 : 0);
	__builtin_unreachable();
}

START;
