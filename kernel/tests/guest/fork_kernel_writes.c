// System calls that write into private memory after a fork write into the caller's alone: files, pipes, sockets, vectors,
// structures; in a small and in a large process.
// variants: dynamic static-pie fixed
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096
#define LARGE 900

static unsigned char *memory;
static int file, pages;

static int all_are(const unsigned char *at, size_t length, unsigned char value)
{
	for (size_t i = 0; i < length; i++)
		if (at[i] != value)
			return 0;
	return 1;
}

static int write_by_calls(unsigned char mark)
{
	int ends[2], sockets[2];
	static unsigned char text[6 * PAGE];
	memset(text, mark, sizeof text);
	NEED(pipe(ends));
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	NEED(pwrite(file, text, sizeof text, 0));
	if (pread(file, memory + 100, 3 * PAGE, 0) != 3 * PAGE || !all_are(memory + 100, 3 * PAGE, mark))
		return 1;
	NEED(write(ends[1], text, 2 * PAGE));
	if (read(ends[0], memory + 8 * PAGE + 50, 2 * PAGE) != 2 * PAGE || !all_are(memory + 8 * PAGE + 50, 2 * PAGE, mark))
		return 2;
	NEED(write(sockets[1], text, PAGE));
	if (recv(sockets[0], memory + 12 * PAGE, PAGE, MSG_WAITALL) != PAGE || !all_are(memory + 12 * PAGE, PAGE, mark))
		return 3;
	struct iovec vector[2] = { { memory + 16 * PAGE - 10, 20 }, { memory + 18 * PAGE, PAGE } };
	if (preadv(file, vector, 2, 0) != 20 + PAGE || !all_are(memory + 16 * PAGE - 10, 20, mark))
		return 4;
	if (fstat(file, (struct stat *)(memory + 20 * PAGE)) || clock_gettime(CLOCK_REALTIME, (struct timespec *)(memory + 22 * PAGE)))
		return 5;
	if (!getcwd((char *)memory + 24 * PAGE - 2, 64))
		return 6;
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(sockets[i]);
	}
	return 0;
}

static int is_clean(void)
{
	return all_are(memory, (size_t)pages * PAGE, 0xaa);
}

static void run(int size)
{
	int to_child[2], to_parent[2], status;
	char byte = 0;
	pages = size;
	NEED(pipe(to_child));
	NEED(pipe(to_parent));
	memory = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(memory, 0xaa, (size_t)pages * PAGE);
	pid_t child = NEED(fork());
	if (child == 0) {
		int wrong = write_by_calls(0x31);
		NEED(write(to_parent[1], &byte, 1));
		NEED(read(to_child[0], &byte, 1));
		_exit(wrong ? wrong : all_are(memory + 100, 3 * PAGE, 0x31) && all_are(memory, 100, 0xaa) ? 0 : 10);
	}
	NEED(read(to_parent[0], &byte, 1));
	CHECK(is_clean());
	VAL(write_by_calls(0x32));
	NEED(write(to_child[1], &byte, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	CHECK(all_are(memory + 100, 3 * PAGE, 0x32) && all_are(memory + 12 * PAGE, PAGE, 0x32));
	munmap(memory, (size_t)pages * PAGE);
}

int main(void)
{
	file = NEED(open("/tmp/fork_kernel_writes", O_RDWR | O_CREAT | O_TRUNC, 0600));
	unlink("/tmp/fork_kernel_writes");
	CASE("small");
	run(32);
	CASE("large");
	run(LARGE);
	DONE();
}
