// A child that crashes takes nobody with it: four ways to crash, the parent's memory stays as it was.
#include "report.h"
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

static void crash(int how)
{
	volatile char *volatile null = NULL;
	switch (how) {
	case 0: *null = 1; break;
	case 1: asm volatile("xor %%ecx, %%ecx\n\tdivl %%ecx" ::: "eax", "ecx", "edx"); break;
	case 2: asm volatile("ud2"); break;
	case 3: ((void (*)(void))(uintptr_t)null)(); break;
	case 4: asm volatile("xor %%esp, %%esp\n\tpush %%rax" ::: "memory"); break;
	case 5: abort();
	}
}

int main(int argc, char **argv)
{
	pid_t child;
	int status;
	char number[2] = "0";
	if (argc > 1) {
		crash(atoi(argv[1]));
		return 0;
	}
	unsigned char *memory = malloc(1 << 20);
	memset(memory, 0xa5, 1 << 20);
	char *arguments[] = { argv[0], number, NULL }, *environment[] = { NULL };
	for (int how = 0; how < 6; how++) {
		number[0] = '0' + how;
		NEED(posix_spawn(&child, argv[0], NULL, NULL, arguments, environment));
		waitpid(child, &status, 0);
		SAY("%d: %s", how, signal_name(WTERMSIG(status)));
	}
	int intact = 1;
	for (int i = 0; i < 1 << 20; i++)
		intact &= memory[i] == 0xa5;
	VAL(intact);
	DONE();
}
