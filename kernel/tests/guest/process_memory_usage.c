// Children that use much memory give it back: fifty of them, one after the other, each 40 MB.
#include "report.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	pid_t child;
	int status, right = 0;
	if (argc > 1) {
		char *map = mmap(NULL, 40 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED)
			return 1;
		for (long at = 0; at < 40 << 20; at += 4096)
			map[at] = 1;
		return 9;
	}
	char *arguments[] = { argv[0], "child", NULL }, *environment[] = { NULL };
	for (int i = 0; i < 50; i++) {
		if (posix_spawn(&child, argv[0], NULL, NULL, arguments, environment) != 0)
			break;
		waitpid(child, &status, 0);
		right += WIFEXITED(status) && WEXITSTATUS(status) == 9;
	}
	VAL(right);
	DONE();
}
