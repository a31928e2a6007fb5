// A file is read into fresh heap memory by programs that come one after the other: what the one before had of the heap's
// addresses does not get into the way.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SIZE (132 * 1024)

// musl's sbrk() refuses.
static char *grow(void)
{
	char *start = (char *)syscall(SYS_brk, 0);
	return (char *)syscall(SYS_brk, start + SIZE) == start + SIZE ? start : NULL;
}

// One read over all of the new memory, of which nothing was touched yet.
static int reader(void)
{
	char *memory = grow();
	int self = open("/proc/self/exe", O_RDONLY);
	size_t size = lseek(self, 0, SEEK_END);
	if (!memory || self < 0)
		return 1;
	if (size > SIZE)
		size = SIZE;
	if (pread(self, memory + SIZE - size, size, 0) != (ssize_t)size || memcmp(memory + SIZE - size, "\177ELF", 4))
		return 2;
	return 0;
}

// One page of all that it gets: each time another one.
static int toucher(int which)
{
	char *memory = grow();
	if (!memory)
		return 1;
	memory = (char *)(((unsigned long)memory + 4095) & ~4095ul) + which * 4096;
	if (memory[0] || memory[4095])
		return 2;
	memset(memory, 0xff, 4096);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return argc > 2 ? toucher(atoi(argv[2])) : reader();
	CASE("one after the other");
	for (int i = 0; i < 32; i++) {
		char which[8];
		snprintf(which, sizeof(which), "%d", i);
		pid_t child = NEED(fork());
		if (child == 0) {
			execl("/proc/self/exe", argv[0], i % 2 ? "reader" : "toucher", i % 2 ? NULL : which, (char *)NULL);
			_exit(99);
		}
		int status;
		NEED(waitpid(child, &status, 0));
		SAY("%d: %x", i, status);
	}
	CASE("a heap that shrinks and grows");
	char *start = grow();
	memset(start, 1, SIZE);
	NEED(syscall(SYS_brk, start) == (long)start ? 0 : -1);
	CHECK(grow() == start);
	int self = NEED(open("/proc/self/exe", O_RDONLY));
	CHECK(pread(self, start + 44 * 1024, 4096, 0) == 4096);
	CHECK(start[0] == 0 && start[SIZE - 1] == 0);
	DONE();
}
