// stat, lstat, fstat and newfstatat: types, links, sizes, identity, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void tell(const char *what, const struct stat *status)
{
	SAY("%s: type %o mode %o links %d size %lld uid %d gid %d", what, status->st_mode & S_IFMT,
	    status->st_mode & 07777, S_ISDIR(status->st_mode) ? 0 : (int)status->st_nlink,
	    S_ISDIR(status->st_mode) ? 0 : (long long)status->st_size, status->st_uid, status->st_gid);
}

int main(void)
{
	struct stat one, two;
	int pipes[2];
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0640));
	NEED(write(fd, "12345", 5));
	NEED(symlink("file", "/tmp/link"));
	NEED(link("/tmp/file", "/tmp/hard"));
	NEED(mkdir("/tmp/dir", 0711));

	NEED(stat("/tmp/file", &one));
	tell("file", &one);
	CHECK(one.st_blksize >= 512 && one.st_blocks > 0);
	NEED(fstat(fd, &two));
	CHECK(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
	NEED(stat("/tmp/link", &two));
	CHECK(one.st_ino == two.st_ino);
	NEED(stat("/tmp/hard", &two));
	CHECK(one.st_ino == two.st_ino);
	NEED(lstat("/tmp/link", &two));
	tell("link", &two);
	CHECK(one.st_ino != two.st_ino && one.st_dev == two.st_dev);
	NEED(fstatat(AT_FDCWD, "/tmp/link", &two, AT_SYMLINK_NOFOLLOW));
	CHECK(S_ISLNK(two.st_mode));
	NEED(fstatat(fd, "", &two, AT_EMPTY_PATH));
	CHECK(one.st_ino == two.st_ino);
	ERR(fstatat(fd, "", &two, 0));
	ERR(fstatat(AT_FDCWD, "", &two, AT_EMPTY_PATH));
	CHECK(S_ISDIR(two.st_mode));
	ERR(fstatat(fd, "x", &two, 0x8000000));
	NEED(stat("/tmp/dir", &two));
	tell("dir", &two);
	VAL(two.st_nlink);
	NEED(stat("/tmp", &two));
	SAY("tmp mode %o", two.st_mode);
	VAL(two.st_nlink);
	NEED(stat("/dev/null", &two));
	SAY("null: char %d major %d minor %d", S_ISCHR(two.st_mode), major(two.st_rdev), minor(two.st_rdev));
	NEED(stat("/dev/zero", &two));
	SAY("zero: char %d major %d minor %d", S_ISCHR(two.st_mode), major(two.st_rdev), minor(two.st_rdev));
	NEED(pipe(pipes));
	NEED(fstat(pipes[0], &two));
	CHECK(S_ISFIFO(two.st_mode));
	ERR(stat("/tmp/none", &two));
	ERR(stat("", &two));
	ERR(lstat("/tmp/file/x", &two));
	ERR(fstat(77, &two));
	DONE();
}
