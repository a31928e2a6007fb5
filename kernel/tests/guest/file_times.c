// utimensat sets times to the nanosecond, to now, or not at all; writing moves mtime, chmod only ctime.
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static int before(struct timespec left, struct timespec right)
{
	return left.tv_sec < right.tv_sec || (left.tv_sec == right.tv_sec && left.tv_nsec < right.tv_nsec);
}

int main(void)
{
	struct stat one, two;
	struct timespec pause = { 0, 20000000 };
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0666));
	ERR(utimensat(AT_FDCWD, "/tmp/f", (struct timespec[]){ { 1000, 123456789 }, { 2000, 987654321 } }, 0));
	NEED(fstat(fd, &one));
	SAY("%ld.%09ld %ld.%09ld", one.st_atim.tv_sec, one.st_atim.tv_nsec, one.st_mtim.tv_sec, one.st_mtim.tv_nsec);
	ERR(futimens(fd, (struct timespec[]){ { 5, UTIME_OMIT }, { 3000, 1 } }));
	NEED(fstat(fd, &one));
	SAY("%ld.%09ld %ld.%09ld", one.st_atim.tv_sec, one.st_atim.tv_nsec, one.st_mtim.tv_sec, one.st_mtim.tv_nsec);
	ERR(futimens(fd, (struct timespec[]){ { 0, UTIME_NOW }, { 0, UTIME_OMIT } }));
	NEED(fstat(fd, &one));
	CHECK(one.st_atim.tv_sec > 1000000000 && one.st_mtim.tv_sec == 3000);
	ERR(futimens(fd, (struct timespec[]){ { 0, 1000000000 }, { 0, 0 } }));
	ERR(utimensat(AT_FDCWD, "/tmp/none", NULL, 0));
	ERR(utimes("/tmp/f", (struct timeval[]){ { 7, 500000 }, { 8, 0 } }));
	NEED(fstat(fd, &one));
	SAY("%ld.%09ld %ld", one.st_atim.tv_sec, one.st_atim.tv_nsec, one.st_mtim.tv_sec);

	CASE("what moves which");
	NEED(fstat(fd, &one));
	nanosleep(&pause, NULL);
	NEED(write(fd, "x", 1));
	NEED(fstat(fd, &two));
	CHECK(before(one.st_mtim, two.st_mtim) && before(one.st_ctim, two.st_ctim));
	nanosleep(&pause, NULL);
	NEED(fchmod(fd, 0600));
	NEED(fstat(fd, &one));
	CHECK(!before(two.st_mtim, one.st_mtim) && before(two.st_ctim, one.st_ctim));
	NEED(mkdir("/tmp/d", 0700));
	NEED(stat("/tmp/d", &one));
	nanosleep(&pause, NULL);
	close(NEED(open("/tmp/d/x", O_CREAT | O_RDWR, 0600)));
	NEED(stat("/tmp/d", &two));
	CHECK(before(one.st_mtim, two.st_mtim));
	DONE();
}
