// MADV_DONTNEED: anonymous memory reads as zeroes again, file memory as the file; advice that needs nothing is taken.
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void)
{
	char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(map, 5, 4 * 4096);
	ERR(madvise(map + 4096, 8192, MADV_DONTNEED));
	SAY("%d %d %d %d", map[4095], map[4096], map[12287], map[12288]);
	ERR(madvise(map, 4096, MADV_NORMAL));
	ERR(madvise(map, 4096, MADV_WILLNEED));
	ERR(madvise(map, 4096, MADV_SEQUENTIAL));
	VAL(map[0]);
	ERR(madvise(map + 1, 4096, MADV_DONTNEED));
	ERR(madvise(map, 4096, 12345));
	munmap(map + 4096, 4096);
	ERR(madvise(map, 12288, MADV_DONTNEED));

	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "text", 4));
	char *file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(file, "mine", 4);
	ERR(madvise(file, 4096, MADV_DONTNEED));
	SAY("%.4s", file);
	DONE();
}
