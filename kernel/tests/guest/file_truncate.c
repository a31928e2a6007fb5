// truncate and ftruncate cut and extend with zeroes; the offset stays; their errors.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	char text[16];
	struct stat status;
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "0123456789", 10));
	ERR(ftruncate(fd, 4));
	VAL(lseek(fd, 0, SEEK_CUR));
	VAL(read(fd, text, 10));
	ERR(ftruncate(fd, 12));
	VAL(pread(fd, text, 16, 0));
	SAY("%.4s %d %d", text, text[4], text[11]);
	ERR(truncate("/tmp/file", 1000000));
	NEED(fstat(fd, &status));
	VAL(status.st_size);
	CHECK(status.st_blocks <= 16);
	ERR(truncate("/tmp/file", 0));
	NEED(fstat(fd, &status));
	VAL(status.st_size);
	VAL(status.st_blocks);
	VAL(write(fd, "x", 1));
	NEED(fstat(fd, &status));
	VAL(status.st_size);
	ERR(ftruncate(fd, -1));
	ERR(truncate("/tmp", 0));
	ERR(truncate("/tmp/none", 0));
	ERR(truncate("/tmp/file/x", 0));
	ERR(ftruncate(77, 0));
	DONE();
}
