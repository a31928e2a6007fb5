// Relatives with much private memory write by turns, each its own pages: parent, child and grandchild, all alive at once.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 1500
#define ROUNDS 6

static unsigned char *memory;
static unsigned char expected[PAGES];

static void fill(int page, unsigned char value)
{
	memset(memory + (size_t)page * PAGE, value, PAGE);
	expected[page] = value;
}

static int intact(void)
{
	for (int i = 0; i < PAGES; i++)
		for (int at = 0; at < PAGE; at += 511)
			if (memory[(size_t)i * PAGE + at] != expected[i])
				return 0;
	return 1;
}

// Writes every `step`-th page from `first`, in an order of its own.
static void scribble(int first, int step, int round, unsigned char by)
{
	for (int i = first; i < PAGES; i += step)
		fill((i * 7 + round * 13) % PAGES, (unsigned char)(by + i + round));
}

static void pass(int fd)
{
	NEED(write(fd, "x", 1));
}

static void take(int fd)
{
	char byte;
	if (NEED(read(fd, &byte, 1)) != 1)
		_exit(98);
}

int main(void)
{
	int down[2][2], up[2][2], status;
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PAGES; i++)
		fill(i, (unsigned char)i);
	for (int i = 0; i < 2; i++) {
		NEED(pipe(down[i]));
		NEED(pipe(up[i]));
	}
	pid_t child = NEED(fork());
	if (child == 0) {
		scribble(3, 5, 0, 40);
		pid_t grandchild = NEED(fork());
		if (grandchild == 0) {
			for (int round = 0; round < ROUNDS; round++) {
				take(down[1][0]);
				if (!intact())
					_exit(1);
				scribble(1, 3, round, 100);
				pass(up[1][1]);
			}
			_exit(intact() ? 7 : 2);
		}
		for (int round = 0; round < ROUNDS; round++) {
			take(down[0][0]);
			if (!intact())
				_exit(3);
			scribble(2, 7, round, 150);
			pass(down[1][1]);
			take(up[1][0]);
			if (!intact())
				_exit(4);
			pass(up[0][1]);
		}
		waitpid(grandchild, &status, 0);
		_exit(intact() ? WEXITSTATUS(status) + 10 : 5);
	}
	for (int round = 0; round < ROUNDS; round++) {
		scribble(0, 4, round, 200);
		pass(down[0][1]);
		take(up[0][0]);
		if (!intact())
			break;
	}
	CHECK(intact());
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(intact());
	DONE();
}
