// A shared file mapping and the file are the same bytes, both ways, also between two mappings.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void)
{
	char text[8] = "";
	int fd = NEED(open("/tmp/shared", O_RDWR | O_CREAT, 0600));
	NEED(ftruncate(fd, 8192));
	char *one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	CHECK(one != MAP_FAILED && two != MAP_FAILED && one != two);
	strcpy(one + 4096, "one");
	SAY("two sees %s", two);
	strcpy(two, "two");
	SAY("one sees %s", one + 4096);
	NEED(pread(fd, text, 4, 4096));
	SAY("file has %s", text);
	NEED(pwrite(fd, "file", 5, 0));
	SAY("map sees %s", one);
	ERR(msync(one, 8192, MS_SYNC));
	ERR(msync(one, 8192, MS_ASYNC));
	ERR(msync(one + 1, 4096, MS_SYNC));
	ERR(msync(one, 4096, MS_SYNC | MS_ASYNC));
	munmap(two, 4096);
	strcpy(one + 4100, "still");
	NEED(pread(fd, text, 6, 4100));
	SAY("file has %s", text);
	DONE();
}
