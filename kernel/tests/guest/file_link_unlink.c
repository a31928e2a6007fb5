// Hard links count, unlink removes a name, an open file outlives its last name.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	struct stat status;
	char text[8] = "";
	int fd = NEED(open("/tmp/a", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "text", 4));
	ERR(link("/tmp/a", "/tmp/b"));
	ERR(link("/tmp/a", "/tmp/b"));
	NEED(fstat(fd, &status));
	VAL(status.st_nlink);
	ERR(unlink("/tmp/a"));
	ERR(unlink("/tmp/a"));
	NEED(fstat(fd, &status));
	VAL(status.st_nlink);
	ERR(access("/tmp/b", F_OK));
	ERR(unlink("/tmp/b"));
	NEED(fstat(fd, &status));
	VAL(status.st_nlink);
	VAL(pread(fd, text, 4, 0));
	SAY("%s", text);
	VAL(pwrite(fd, "more", 4, 4));
	NEED(fstat(fd, &status));
	VAL(status.st_size);
	CASE("a new file under the old name is another");
	int other = NEED(open("/tmp/a", O_RDWR | O_CREAT | O_EXCL, 0600));
	VAL(lseek(other, 0, SEEK_END));
	CASE("errors");
	NEED(mkdir("/tmp/dir", 0700));
	ERR(unlink("/tmp/dir"));
	ERR(link("/tmp/dir", "/tmp/dir2"));
	ERR(link("/tmp/none", "/tmp/c"));
	ERR(link("/tmp/a", "/tmp/none/c"));
	ERR(unlink("/tmp/a/x"));
	ERR(unlink(""));
	ERR(unlink("/tmp/dir/"));
	CASE("across file systems");
	ERR(link("/tmp/a", "/dev/shm/a"));
	ERR(link("/etc/passwd", "/tmp/passwd"));
	ERR(rename("/tmp/a", "/dev/shm/a"));
	DONE();
}
