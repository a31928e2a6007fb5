// lseek's origins and errors, beyond the end, on pipes; SEEK_DATA and SEEK_HOLE at the edges.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>

int main(void)
{
	int pipes[2];
	char byte;
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "0123456789", 10));
	VAL(lseek(fd, 3, SEEK_SET));
	VAL(lseek(fd, 2, SEEK_CUR));
	VAL(lseek(fd, -1, SEEK_CUR));
	VAL(lseek(fd, -10, SEEK_END));
	VAL(lseek(fd, 100, SEEK_END));
	VAL(read(fd, &byte, 1));
	ERR(lseek(fd, -1, SEEK_SET));
	ERR(lseek(fd, -111, SEEK_CUR));
	ERR(lseek(fd, 0, 99));
	VAL(lseek(fd, 0, SEEK_CUR));
	VAL(lseek(fd, 0, SEEK_DATA));
	VAL(lseek(fd, 0, SEEK_HOLE));
	ERR(lseek(fd, 10, SEEK_DATA));
	ERR(lseek(fd, 11, SEEK_HOLE));
	VAL(lseek(fd, 1l << 40, SEEK_SET));
	NEED(pipe(pipes));
	ERR(lseek(pipes[0], 0, SEEK_CUR));
	ERR(pread(pipes[0], &byte, 1, 0));
	ERR(pwrite(pipes[1], &byte, 1, 0));
	ERR(lseek(77, 0, SEEK_SET));
	DONE();
}
