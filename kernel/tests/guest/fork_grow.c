// Memory that relatives get after a fork is their own and zero at first, although they get it at the same addresses: by
// brk, in mappings that neither had touched, and on the stack.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define GROWTH (300 * PAGE)

static unsigned char *untouched;
static char *top;
static unsigned char zeros[200 * PAGE];

static int all_are(const unsigned char *at, size_t length, unsigned char value)
{
	for (size_t i = 0; i < length; i += 97)
		if (at[i] != value)
			return 0;
	return 1;
}

static __attribute__((noinline)) int deep(unsigned char mark)
{
	volatile unsigned char room[50 * PAGE];
	for (size_t i = 0; i < sizeof room; i += PAGE / 2)
		room[i] = mark;
	for (size_t i = 0; i < sizeof room; i += PAGE / 2)
		if (room[i] != mark)
			return 0;
	return 1;
}

static int grow(unsigned char mark)
{
	char *before = sbrk(GROWTH);
	if (before != top || !all_are((unsigned char *)before, GROWTH, 0))
		return 1;
	memset(before, mark, GROWTH);
	if (!all_are(untouched, GROWTH, 0) || !all_are(zeros, sizeof zeros, 0))
		return 2;
	memset(untouched + 10 * PAGE, mark, 100 * PAGE);
	memset(zeros, mark, sizeof zeros / 2);
	return deep(mark) ? 0 : 3;
}

static int grown(unsigned char mark)
{
	return all_are((unsigned char *)top, GROWTH, mark) && all_are(untouched, 10 * PAGE, 0) &&
	       all_are(untouched + 10 * PAGE, 100 * PAGE, mark) && all_are(untouched + 110 * PAGE, GROWTH - 110 * PAGE, 0) &&
	       all_are(zeros, sizeof zeros / 2, mark) && all_are(zeros + sizeof zeros / 2, sizeof zeros / 2, 0);
}

int main(void)
{
	int to_child[2], to_parent[2], status;
	char byte = 0;
	untouched = mmap(NULL, GROWTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(pipe(to_child));
	NEED(pipe(to_parent));
	SAY("begin");
	top = sbrk(0);
	pid_t child = NEED(fork());
	if (child == 0) {
		int wrong = grow(0x55);
		NEED(write(to_parent[1], &byte, 1));
		NEED(read(to_child[0], &byte, 1));
		if (!wrong && !grown(0x55))
			wrong = 10;
		// Shrunk and grown again, it is new.
		if (!wrong && (sbrk(-GROWTH) == (void *)-1 || sbrk(GROWTH) != top || !all_are((unsigned char *)top, GROWTH, 0)))
			wrong = 11;
		NEED(write(to_parent[1], &byte, 1));
		NEED(read(to_child[0], &byte, 1));
		_exit(wrong);
	}
	NEED(read(to_parent[0], &byte, 1));
	VAL(grow(0x66));
	NEED(write(to_child[1], &byte, 1));
	NEED(read(to_parent[0], &byte, 1));
	CHECK(grown(0x66));
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(grown(0x66));
	DONE();
}
