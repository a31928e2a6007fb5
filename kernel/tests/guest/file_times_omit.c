// utimensat with UTIME_OMIT twice has nothing to do and looks at nothing.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	struct timespec one[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
	ERR(utimensat(AT_FDCWD, "/tmp/none", omit, 0));
	ERR(utimensat(AT_FDCWD, "/tmp/none", one, 0));
	ERR(utimensat(99, "none", omit, 0));
	ERR(utimensat(99, "none", one, 0));
	struct timespec wrong[2] = { { 0, 1000000000 }, { 0, UTIME_OMIT } };
	ERR(utimensat(AT_FDCWD, "/tmp", wrong, 0));
	// The seconds beside a special value do not matter.
	struct timespec odd[2] = { { -5, UTIME_OMIT }, { 7, UTIME_OMIT } };
	ERR(utimensat(AT_FDCWD, "/tmp", odd, 0));
	DONE();
}
