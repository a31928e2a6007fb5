// fallocate grows, keeps the size, punches holes that read as zeroes.
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

static long size(int fd)
{
	struct stat status;
	NEED(fstat(fd, &status));
	return status.st_size;
}

int main(void)
{
	char text[3 * 4096];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	ERR(fallocate(fd, 0, 0, 10000));
	VAL(size(fd));
	ERR(fallocate(fd, FALLOC_FL_KEEP_SIZE, 10000, 10000));
	VAL(size(fd));
	memset(text, 'x', sizeof(text));
	NEED(pwrite(fd, text, sizeof(text), 0));
	ERR(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4000, 5000));
	VAL(size(fd));
	NEED(pread(fd, text, sizeof(text), 0));
	SAY("%d %d %d %d", text[3999], text[4000], text[8999], text[9000]);
	ERR(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	ERR(fallocate(fd, 0, -1, 10));
	ERR(fallocate(fd, 0, 0, 0));
	ERR(posix_fallocate(fd, 20000, 10));
	VAL(size(fd));
	int reading = NEED(open("/tmp/f", O_RDONLY));
	ERR(fallocate(reading, 0, 0, 10));
	ERR(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	ERR(fallocate(77, 0, 0, 1));
	DONE();
}
