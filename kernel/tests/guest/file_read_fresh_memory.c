// One read or write of a regular file moves everything, even if no page of the buffer has been touched before.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SIZE (700 * 1024)

static char *fresh(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		_exit(99);
	return memory;
}

int main(void)
{
	// The program's own file lies on the root file system; /tmp is another one.
	int self = NEED(open("/proc/self/exe", O_RDONLY));
	struct stat info;
	NEED(fstat(self, &info));
	size_t size = info.st_size;

	CASE("read");
	char *whole = fresh(4 << 20);
	CHECK((size_t)read(self, whole, size) == size);
	CHECK(memcmp(whole, "\177ELF", 4) == 0);
	char *again = fresh(4 << 20);
	CHECK((size_t)pread(self, again, 4 << 20, 0) == size);
	CHECK(memcmp(whole, again, size) == 0);
	CHECK(pread(self, fresh(1 << 20), 1 << 20, size) == 0);

	CASE("readv, one page touched between others");
	char *middle = fresh(1 << 20);
	middle[100 * 4096] = 1;
	struct iovec parts[2] = { { middle, 8 }, { middle + 64 * 1024 - 8, 4 << 20 } };
	parts[1].iov_len = (1 << 20) - (64 * 1024 - 8);
	size_t wanted = parts[0].iov_len + parts[1].iov_len;
	CHECK((size_t)preadv(self, parts, 2, 0) == (size < wanted ? size : wanted));
	size_t rest = size < wanted ? size - 8 : wanted - 8;
	CHECK(memcmp(middle, whole, 8) == 0 && memcmp(middle + 64 * 1024 - 8, whole + 8, rest) == 0);

	CASE("write of pages that were never touched");
	int fd = NEED(open("/tmp/zeros", O_CREAT | O_RDWR, 0600));
	CHECK(write(fd, fresh(SIZE), SIZE) == SIZE);
	CHECK(pread(fd, fresh(SIZE), SIZE, 0) == SIZE);

	CASE("the end of the memory");
	char *edge = fresh(8 * 4096);
	NEED(munmap(edge + 4 * 4096, 4 * 4096));
	size_t reached = pread(self, edge, 8 * 4096, 0);
	VAL(reached);
	ERR(pread(self, edge + 4 * 4096, 4096, 0));
	DONE();
}
