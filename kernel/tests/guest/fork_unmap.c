// What a child does to inherited mappings is its own: the parent still has files, memory and protections where the child
// unmapped, moved, replaced or protected them, and so has the child after the parent did.
// variants: dynamic static-pie fixed
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 8
#define LENGTH (PAGES * PAGE)

static unsigned char *file_map, *file_written, *memory, *shared;

static unsigned sum(const unsigned char *at)
{
	unsigned total = 0;
	for (int i = 0; i < LENGTH; i++)
		total = total * 31 + at[i];
	return total;
}

static int turn(int pipes[2], int other[2])
{
	char byte = 0;
	return write(pipes[1], &byte, 1) == 1 && read(other[0], &byte, 1) == 1;
}

static void disturb(void)
{
	unsigned char *elsewhere = mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(munmap(file_map, LENGTH) == 0);
	CHECK(munmap(file_written + PAGE, PAGE) == 0);
	CHECK(mprotect(file_written, PAGE, PROT_NONE) == 0);
	CHECK(mprotect(memory, PAGE, PROT_NONE) == 0);
	CHECK(munmap(memory + PAGE, PAGE) == 0);
	CHECK(mmap(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      memory + 2 * PAGE);
	CHECK(memory[2 * PAGE] == 0);
	memset(memory + 2 * PAGE, 0x77, PAGE);
	CHECK(mremap(memory + 4 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) == elsewhere);
	CHECK(elsewhere[5] == 5);
	CHECK(madvise(memory + 5 * PAGE, PAGE, MADV_DONTNEED) == 0);
	CHECK(memory[5 * PAGE + 1] == 0);
	CHECK(mprotect(shared, PAGE, PROT_READ) == 0);
}

int main(void)
{
	int to_child[2], to_parent[2], status;
	int fd = NEED(open("/tmp/fork_unmap", O_RDWR | O_CREAT | O_TRUNC, 0600));
	char text[LENGTH];
	for (int i = 0; i < LENGTH; i++)
		text[i] = i * 7;
	NEED(write(fd, text, LENGTH));
	file_map = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, 0);
	file_written = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < LENGTH; i++)
		memory[i] = i;
	file_written[PAGE + 3] = 200;
	unsigned sums[3] = { sum(file_map), sum(file_written), sum(memory) };
	NEED(pipe(to_child));
	NEED(pipe(to_parent));

	CASE("the child disturbs");
	pid_t child = NEED(fork());
	if (child == 0) {
		disturb();
		turn(to_parent, to_child);
		CHECK(memory[2 * PAGE] == 0x77 && file_written[2 * PAGE] == text[2 * PAGE]);
		CHECK(shared[1] == 9);
		_exit(report_failures);
	}
	char byte;
	NEED(read(to_parent[0], &byte, 1));
	CHECK(sum(file_map) == sums[0]);
	CHECK(sum(file_written) == sums[1]);
	CHECK(sum(memory) == sums[2]);
	shared[1] = 9;
	memory[2 * PAGE]++;
	memory[2 * PAGE]--;
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(sum(file_map) == sums[0] && sum(file_written) == sums[1] && sum(memory) == sums[2]);

	CASE("the parent disturbs");
	child = NEED(fork());
	if (child == 0) {
		NEED(read(to_child[0], &byte, 1));
		CHECK(sum(file_map) == sums[0]);
		CHECK(sum(file_written) == sums[1]);
		CHECK(sum(memory) == sums[2]);
		shared[2] = 8;
		_exit(report_failures);
	}
	disturb();
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(memory[2 * PAGE + 9] == 0x77 && shared[2] == 8);
	unlink("/tmp/fork_unmap");
	DONE();
}
