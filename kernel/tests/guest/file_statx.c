// statx fills what it is asked for, and agrees with stat.
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int main(void)
{
	struct statx extended;
	struct stat status;
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0640));
	NEED(write(fd, "12345", 5));
	ERR(statx(AT_FDCWD, "/tmp/file", 0, STATX_BASIC_STATS, &extended));
	NEED(stat("/tmp/file", &status));
	CHECK((extended.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	CHECK(extended.stx_ino == status.st_ino && extended.stx_size == 5 && extended.stx_mode == status.st_mode);
	CHECK(makedev(extended.stx_dev_major, extended.stx_dev_minor) == status.st_dev);
	CHECK(extended.stx_mtime.tv_sec == status.st_mtim.tv_sec && extended.stx_mtime.tv_nsec == status.st_mtim.tv_nsec);
	VAL(extended.stx_nlink);
	ERR(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &extended));
	VAL(extended.stx_size);
	ERR(statx(AT_FDCWD, "/tmp/none", 0, STATX_BASIC_STATS, &extended));
	ERR(statx(AT_FDCWD, "/tmp/file", 0, 0x80000000u, &extended));
	ERR(statx(AT_FDCWD, "/tmp/file", 0x10, STATX_SIZE, &extended));
	ERR(statx(AT_FDCWD, "/dev/null", 0, STATX_TYPE, &extended));
	SAY("null %d:%d", extended.stx_rdev_major, extended.stx_rdev_minor);
	DONE();
}
