// After a fork of a large process either side unmaps, moves, protects, drops and replaces parts of its memory: the other
// side's is as it was.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 900
#define LENGTH ((size_t)PAGES * PAGE)
#define AT(page) (memory + (size_t)(page) * PAGE)

static unsigned char *memory;

static unsigned char value_of(int page)
{
	return (unsigned char)(page * 3 + 1);
}

static int page_is(int page, unsigned char value)
{
	for (int at = 0; at < PAGE; at += 255)
		if (AT(page)[at] != value)
			return 0;
	return 1;
}

static int untouched(void)
{
	for (int i = 0; i < PAGES; i++)
		if (!page_is(i, value_of(i)))
			return 0;
	return 1;
}

// What is left of the range afterwards.
static int disturb(void)
{
	unsigned char *room = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (munmap(AT(10), 20 * PAGE) || mprotect(AT(40), 8 * PAGE, PROT_READ) || mprotect(AT(60), 8 * PAGE, PROT_NONE))
		return 1;
	if (madvise(AT(100), 30 * PAGE, MADV_DONTNEED) || !page_is(100, 0) || !page_is(129, 0) || !page_is(130, value_of(130)))
		return 2;
	memset(AT(110), 0x5c, PAGE);
	if (mmap(AT(200), 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != AT(200) ||
	    !page_is(200, 0))
		return 3;
	memset(AT(201), 0x6d, PAGE);
	if (mremap(AT(300), 32 * PAGE, 48 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room) != room || room[PAGE] != value_of(301) ||
	    room[40 * PAGE] != 0)
		return 4;
	memset(room, 0x7e, 48 * PAGE);
	// Protected and opened again, written at last.
	if (mprotect(AT(400), 16 * PAGE, PROT_READ) || mprotect(AT(400), 16 * PAGE, PROT_READ | PROT_WRITE))
		return 5;
	memset(AT(402), 0x11, 3 * PAGE);
	// Addresses that were given up, used again: 10 to 30 are free for this process.
	if (mmap(AT(12), 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != AT(12) ||
	    !page_is(12, 0))
		return 6;
	memset(AT(12), 0x22, 4 * PAGE);
	if (mprotect(AT(60), 8 * PAGE, PROT_READ | PROT_WRITE) || !page_is(61, value_of(61)))
		return 7;
	memset(AT(61), 0x33, PAGE);
	return 0;
}

static int disturbed(void)
{
	return page_is(110, 0x5c) && page_is(111, 0) && page_is(201, 0x6d) && page_is(202, 0) && page_is(402, 0x11) &&
	       page_is(404, 0x11) && page_is(405, value_of(405)) && page_is(13, 0x22) && page_is(61, 0x33) &&
	       page_is(62, value_of(62)) && page_is(45, value_of(45)) && page_is(899, value_of(899));
}

static void refill(void)
{
	mmap(memory, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < PAGES; i++)
		memset(AT(i), value_of(i), PAGE);
}

int main(void)
{
	int to_child[2], to_parent[2], status;
	char byte = 0;
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	refill();
	NEED(pipe(to_child));
	NEED(pipe(to_parent));

	CASE("the child disturbs");
	pid_t child = NEED(fork());
	if (child == 0) {
		int wrong = disturb();
		NEED(write(to_parent[1], &byte, 1));
		NEED(read(to_child[0], &byte, 1));
		_exit(wrong ? wrong : disturbed() ? 0 : 20);
	}
	NEED(read(to_parent[0], &byte, 1));
	CHECK(untouched());
	memset(AT(14), 0x44, 6 * PAGE);
	memset(AT(14), value_of(14), PAGE);
	for (int i = 14; i < 20; i++)
		memset(AT(i), value_of(i), PAGE);
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(untouched());

	CASE("the parent disturbs");
	child = NEED(fork());
	if (child == 0) {
		NEED(read(to_child[0], &byte, 1));
		if (!untouched())
			_exit(21);
		_exit(disturb() || !disturbed() ? 22 : 0);
	}
	VAL(disturb());
	CHECK(disturbed());
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(disturbed());

	CASE("both, with a grandchild that sees the first state");
	refill();
	child = NEED(fork());
	if (child == 0) {
		pid_t grandchild = NEED(fork());
		if (grandchild == 0) {
			NEED(read(to_child[0], &byte, 1));
			_exit(untouched() ? 0 : 23);
		}
		int wrong = disturb();
		NEED(write(to_parent[1], &byte, 1));
		waitpid(grandchild, &status, 0);
		_exit(wrong ? wrong : WEXITSTATUS(status) ? WEXITSTATUS(status) : disturbed() ? 0 : 24);
	}
	NEED(read(to_parent[0], &byte, 1));
	CHECK(untouched());
	VAL(disturb());
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(disturbed());
	DONE();
}
