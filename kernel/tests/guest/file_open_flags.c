// openat's flags: O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, access modes, mode bits.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

static long size(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 ? status.st_size : -1;
}

int main(void)
{
	struct stat status;
	char text[8];

	CASE("create");
	ERR(open("/tmp/a", O_RDWR));
	int fd = ERR(open("/tmp/a", O_RDWR | O_CREAT, 0777));
	VAL(fd);
	NEED(fstat(fd, &status));
	SAY("mode %o", status.st_mode);
	ERR(open("/tmp/a", O_RDWR | O_CREAT | O_EXCL, 0777));
	ERR(open("/tmp/b", O_RDWR | O_CREAT | O_EXCL, 0400));
	NEED(stat("/tmp/b", &status));
	SAY("mode %o", status.st_mode);

	CASE("truncate");
	NEED(write(fd, "0123456789", 10));
	VAL(size("/tmp/a"));
	close(NEED(open("/tmp/a", O_WRONLY)));
	VAL(size("/tmp/a"));
	close(NEED(open("/tmp/a", O_WRONLY | O_TRUNC)));
	VAL(size("/tmp/a"));

	CASE("append");
	int appending = NEED(open("/tmp/a", O_WRONLY | O_APPEND));
	NEED(write(appending, "ab", 2));
	NEED(pwrite(fd, "xyz", 3, 0));
	NEED(lseek(appending, 0, SEEK_SET));
	NEED(write(appending, "cd", 2));
	VAL(lseek(appending, 0, SEEK_CUR));
	NEED(pread(fd, text, 5, 0));
	SAY("%.5s", text);

	CASE("access mode");
	ERR(read(appending, text, 1));
	int reading = NEED(open("/tmp/a", O_RDONLY));
	ERR(write(reading, "x", 1));
	ERR(ftruncate(reading, 0));

	CASE("directory");
	ERR(open("/tmp", O_RDONLY | O_DIRECTORY));
	ERR(open("/tmp/a", O_RDONLY | O_DIRECTORY));
	ERR(open("/tmp", O_WRONLY));
	ERR(open("/tmp", O_RDWR | O_CREAT, 0600));
	ERR(open("/tmp/", O_RDONLY | O_CREAT, 0600));
	ERR(open("/tmp/a/", O_RDONLY));

	CASE("symbolic link");
	NEED(symlink("/tmp/a", "/tmp/link"));
	ERR(open("/tmp/link", O_RDONLY));
	ERR(open("/tmp/link", O_RDONLY | O_NOFOLLOW));
	ERR(open("/tmp/link", O_WRONLY | O_CREAT | O_EXCL, 0600));
	NEED(symlink("/tmp/made", "/tmp/dangling"));
	ERR(open("/tmp/dangling", O_RDONLY));
	ERR(open("/tmp/dangling", O_RDWR | O_CREAT, 0600));
	VAL(size("/tmp/made"));

	CASE("close on exec");
	fd = NEED(open("/tmp/a", O_RDONLY | O_CLOEXEC));
	VAL(fcntl(fd, F_GETFD));
	fd = NEED(open("/tmp/a", O_RDONLY));
	VAL(fcntl(fd, F_GETFD));

	CASE("path descriptor");
	fd = ERR(open("/tmp/a", O_PATH));
	ERR(read(fd, text, 1));
	ERR(fstat(fd, &status));
	DONE();
}
