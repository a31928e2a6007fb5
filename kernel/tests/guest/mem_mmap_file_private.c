// A private file mapping shows the file, keeps its writes to itself, and is zero behind the file's end.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void)
{
	char text[16];
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "hello world", 11));
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK(memcmp(map, "hello world", 11) == 0);
	VAL(map[11]);
	VAL(map[4095]);
	map[0] = 'J';
	NEED(pread(fd, text, 11, 0));
	SAY("file %.11s map %.11s", text, map);

	CASE("descriptor closed, map lives on");
	close(fd);
	SAY("map %.11s", map);

	CASE("errors");
	fd = NEED(open("/tmp/file", O_WRONLY));
	ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
	close(fd);
	fd = NEED(open("/tmp/file", O_RDONLY));
	ERR(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	ERR(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1));
	close(fd);
	ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 77, 0));
	fd = NEED(open("/tmp", O_RDONLY));
	ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
	DONE();
}
