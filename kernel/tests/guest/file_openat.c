// openat and relatives start at a directory descriptor, at the working directory, or nowhere for absolute paths.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	struct stat status;
	NEED(mkdir("/tmp/dir", 0755));
	int dir = NEED(open("/tmp/dir", O_RDONLY | O_DIRECTORY));
	ERR(openat(dir, "file", O_CREAT | O_RDWR, 0644));
	ERR(stat("/tmp/dir/file", &status));
	ERR(fstatat(dir, "file", &status, 0));
	ERR(fstatat(dir, "/tmp/dir/file", &status, 0));
	ERR(fstatat(77, "/tmp/dir/file", &status, 0));
	ERR(fstatat(77, "file", &status, 0));
	ERR(fstatat(AT_FDCWD, "tmp/dir/file", &status, 0));
	ERR(openat(dir, "../dir/./file", O_RDONLY));
	ERR(openat(dir, "", O_RDONLY));
	int file = NEED(openat(dir, "file", O_RDONLY));
	ERR(openat(file, "x", O_RDONLY));
	ERR(mkdirat(dir, "sub", 0700));
	ERR(symlinkat("file", dir, "link"));
	ERR(linkat(dir, "file", dir, "hard", 0));
	ERR(renameat(dir, "hard", dir, "sub/moved"));
	ERR(unlinkat(dir, "sub", 0));
	ERR(unlinkat(dir, "sub", AT_REMOVEDIR));
	ERR(unlinkat(dir, "sub/moved", 0));
	ERR(unlinkat(dir, "sub", AT_REMOVEDIR));
	ERR(unlinkat(dir, "file", AT_REMOVEDIR));
	ERR(unlinkat(dir, "link", 0));
	ERR(faccessat(dir, "file", R_OK, 0));
	CASE("directory removed under its descriptor");
	NEED(unlink("/tmp/dir/file"));
	ERR(rmdir("/tmp/dir"));
	ERR(openat(dir, "file", O_CREAT | O_RDWR, 0644));
	ERR(fstat(dir, &status));
	VAL(status.st_nlink);
	DONE();
}
