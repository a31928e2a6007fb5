// A tree of processes works at random on its own memory, small at first and large later: every process knows what each of
// its pages must hold and looks at all of them after every turn.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 600
#define DEPTH 3

static unsigned char *memory;
static struct { unsigned char value, protection; } known[PAGES];
static unsigned seed;

static unsigned draw(unsigned below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static int right(void)
{
	for (int i = 0; i < PAGES; i++) {
		if (known[i].protection == PROT_NONE)
			continue;
		const unsigned char *page = memory + (size_t)i * PAGE;
		if (page[0] != known[i].value || page[1777] != known[i].value || page[PAGE - 1] != known[i].value)
			return 0;
	}
	return 1;
}

static int act(int in_use)
{
	int first = draw(in_use), count = 1 + draw(in_use - first < 12 ? in_use - first : 12);
	unsigned char *at = memory + (size_t)first * PAGE, value = draw(256);
	size_t length = (size_t)count * PAGE;
	int protection;
	switch (draw(10)) {
	case 0:
		if (madvise(at, length, MADV_DONTNEED))
			return 0;
		for (int i = first; i < first + count; i++)
			known[i].value = 0;
		return 1;
	case 1:
		if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
			return 0;
		for (int i = first; i < first + count; i++) {
			known[i].value = 0;
			known[i].protection = PROT_READ | PROT_WRITE;
		}
		return 1;
	case 2:
		protection = (int[]){ PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE }[draw(3)];
		if (mprotect(at, length, protection))
			return 0;
		for (int i = first; i < first + count; i++)
			known[i].protection = protection;
		return 1;
	default:
		for (int i = first; i < first + count; i++) {
			if (known[i].protection & PROT_WRITE) {
				memset(memory + (size_t)i * PAGE, value, PAGE);
				known[i].value = value;
			}
		}
		return 1;
	}
}

static int live(int depth, int in_use)
{
	pid_t children[2];
	int made = 0, status;
	for (int turn = 0; turn < 14; turn++) {
		for (int i = 0; i < 5; i++)
			if (!act(in_use) || !right())
				return 1;
		if (depth < DEPTH && made < 2 && draw(3) == 0) {
			unsigned other = draw(1 << 20);
			children[made] = NEED(fork());
			if (children[made++] == 0) {
				seed = other;
				_exit(live(depth + 1, in_use));
			}
		}
		sched_yield();
		if (!right())
			return 2;
	}
	for (int i = 0; i < made; i++) {
		if (waitpid(children[i], &status, 0) != children[i] || status != 0)
			return 3;
		if (!right())
			return 4;
	}
	return 0;
}

static int run(unsigned from, int in_use)
{
	seed = from;
	memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PAGES; i++) {
		known[i].value = 0;
		known[i].protection = PROT_READ | PROT_WRITE;
	}
	for (int i = 0; i < in_use; i++) {
		known[i].value = draw(256);
		memset(memory + (size_t)i * PAGE, known[i].value, PAGE);
	}
	int wrong = live(0, in_use);
	munmap(memory, (size_t)PAGES * PAGE);
	return wrong;
}

int main(void)
{
	for (int i = 0; i < 4; i++) {
		VAL(run(1000 + i, 60));
		VAL(run(2000 + i, PAGES));
	}
	DONE();
}
