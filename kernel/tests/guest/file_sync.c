// fsync, fdatasync, sync, syncfs and sync_file_range succeed on files and say no where Linux does.
#include "report.h"
#include <fcntl.h>

int main(void)
{
	int pipes[2];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	int directory = NEED(open("/tmp", O_RDONLY));
	NEED(write(fd, "x", 1));
	ERR(fsync(fd));
	ERR(fdatasync(fd));
	ERR(fsync(directory));
	ERR(syncfs(fd));
	ERR(sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE));
	NEED(pipe(pipes));
	ERR(fsync(pipes[0]));
	ERR(fdatasync(77));
	sync();
	DONE();
}
