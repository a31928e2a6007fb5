// Six relatives of three generations take turns by pipes; each checks all of its private memory, which it changes, maps
// and unmaps as it goes, on every turn. The first ancestor leaves early.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PROCESSES 6
#define ROUNDS 60
#define BLOCKS 12
#define BLOCK (3 * 4096)

static uint32_t *blocks[BLOCKS];
static uint32_t seeds[BLOCKS];
static uint32_t state;

static uint32_t next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void fill(int block)
{
	seeds[block] = next();
	for (unsigned i = 0; i < BLOCK / 4; i++)
		blocks[block][i] = seeds[block] + i * 2654435761u;
}

static int intact(void)
{
	for (int block = 0; block < BLOCKS; block++)
		for (unsigned i = 0; blocks[block] && i < BLOCK / 4; i++)
			if (blocks[block][i] != seeds[block] + i * 2654435761u)
				return 0;
	return 1;
}

static void change(void)
{
	int block = next() % BLOCKS;
	if (!blocks[block]) {
		blocks[block] = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fill(block);
	} else if (next() % 3 == 0) {
		munmap(blocks[block], BLOCK);
		blocks[block] = NULL;
	} else if (next() % 3 == 0) {
		mmap(blocks[block], BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		fill(block);
	} else if (next() % 3 == 0) {
		blocks[block] = mremap(blocks[block], BLOCK, 2 * BLOCK, MREMAP_MAYMOVE);
		munmap((char *)blocks[block] + BLOCK, BLOCK);
	} else {
		mprotect(blocks[block], BLOCK, PROT_READ);
		mprotect(blocks[block], BLOCK, PROT_READ | PROT_WRITE);
		fill(block);
	}
}

static int run(int self, int (*ring)[2], int rounds)
{
	int right = 0;
	for (int round = 0; round < rounds; round++) {
		char token;
		if (read(ring[self][0], &token, 1) != 1)
			return 90;
		right += intact();
		change();
		if (write(ring[(self + 1) % PROCESSES][1], &token, 1) != 1)
			return 91;
	}
	return right == rounds ? 0 : 1;
}

int main(void)
{
	int ring[PROCESSES][2], report[2], status, self;
	pid_t child;
	char byte = 0;

	NEED(pipe(report));
	for (int i = 0; i < PROCESSES; i++)
		NEED(pipe(ring[i]));
	child = NEED(fork());
	if (child > 0) {
		// The first ancestor only looks on: the descendants outlive their own parents.
		waitpid(child, &status, 0);
		VAL(WEXITSTATUS(status));
		for (int i = 0; i < PROCESSES; i++) {
			NEED(read(report[0], &byte, 1));
			VAL(byte);
		}
		DONE();
	}
	state = 12345;
	for (int block = 0; block < BLOCKS; block++) {
		blocks[block] = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fill(block);
	}
	for (self = 0; self < PROCESSES; self++) {
		child = NEED(fork());
		if (child == 0) {
			state = 777 + self;
			change();
			// Every second one leaves its part to a child of its own.
			if (self % 2 && NEED(fork()) > 0)
				_exit(0);
			byte = run(self, ring, ROUNDS);
			NEED(write(report[1], &byte, 1));
			_exit(0);
		}
		change();
	}
	NEED(write(ring[0][1], &byte, 1));
	_exit(intact() ? 7 : 8);
}
