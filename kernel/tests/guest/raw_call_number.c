// The number of a system call is the low half of rax.
// variants: dynamic static-pie
#include "report.h"

static long call(unsigned long number)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
	return result;
}

int main(void)
{
	CHECK(call(39) == getpid());
	CHECK(call(0x100000027) == getpid());
	CHECK(call(0xffffffff00000027) == getpid());
	VAL(call(0x7fffffff));
	VAL(call(0xffffffff));
	VAL(call(~0ul));
	DONE();
}
