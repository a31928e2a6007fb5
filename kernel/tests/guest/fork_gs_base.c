// Call sites that are hot before and after a fork, in parent and child, when either asks for a GS base of its own.
// variants: dynamic static-pie fixed
#include "report.h"
#include <asm/prctl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static uint64_t block[8] = { 0x1122334455667788 };

// As the C library's own sites: the number is loaded in front of the call.
static __attribute__((noinline)) long raw_getppid(void)
{
	long result;
	__asm__ volatile("movl $110, %%eax\n\tsyscall" : "=a"(result) : : "rcx", "r11", "memory");
	return result;
}

static int call_often(long expected)
{
	for (int i = 0; i < 3000; i++)
		if (raw_getppid() != expected || getppid() != expected)
			return 0;
	return 1;
}

static int own_base_works(long expected)
{
	uint64_t word;
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, block) != 0 || !call_often(expected))
		return 0;
	__asm__ volatile("movq %%gs:0, %0" : "=r"(word));
	return word == block[0];
}

static int status_of(pid_t child)
{
	int status = -1;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	long mine = getppid(), me = getpid();
	int go[2], ready[2];
	char byte = 0;
	NEED(pipe(go));
	NEED(pipe(ready));
	CHECK(call_often(mine));

	CASE("the child, while the parent has none");
	pid_t child = NEED(fork());
	if (child == 0) {
		int works = own_base_works(me);
		NEED(write(ready[1], &byte, 1));
		NEED(read(go[0], &byte, 1));
		_exit(works && call_often(me) ? 0 : 1);
	}
	NEED(read(ready[0], &byte, 1));
	CHECK(call_often(mine));
	NEED(write(go[1], &byte, 1));
	CHECK(call_often(mine));
	VAL(status_of(child));
	CHECK(call_often(mine));

	CASE("the parent, after a child has made sites hot");
	child = NEED(fork());
	if (child == 0)
		_exit(call_often(me) ? 0 : 1);
	VAL(status_of(child));
	CHECK(own_base_works(mine));
	child = NEED(fork());
	if (child == 0) {
		uint64_t word;
		__asm__ volatile("movq %%gs:0, %0" : "=r"(word));
		_exit(word == block[0] && call_often(me) ? 0 : 1);
	}
	VAL(status_of(child));
	CHECK(call_often(mine));
	DONE();
}
