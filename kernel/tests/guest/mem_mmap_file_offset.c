// A file mapping at an offset shows that part of the file; an executable's own text can be mapped.
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void)
{
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	for (int page = 0; page < 5; page++) {
		char block[4096];
		memset(block, 'a' + page, sizeof(block));
		NEED(write(fd, block, sizeof(block)));
	}
	char *map = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 8192);
	SAY("%c %c", map[0], map[8191]);
	char *rest = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 16384);
	SAY("%c %c", rest[0], rest[4095]);

	int self = NEED(open("/proc/self/exe", O_RDONLY));
	char *elf = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, self, 0);
	CHECK(memcmp(elf, "\177ELF\2\1\1", 7) == 0);
	DONE();
}
