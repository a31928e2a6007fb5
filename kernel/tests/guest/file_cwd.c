// chdir, fchdir and getcwd, also when the directory is gone, and relative paths from there.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void where(void)
{
	char text[128] = "";
	long length = syscall(SYS_getcwd, text, sizeof(text));
	if (length < 0)
		SAY("cwd %s", errno_name(errno));
	else
		SAY("cwd %s length %ld", text, length);
}

int main(void)
{
	char small[4];
	struct stat status;
	where();
	NEED(mkdir("/tmp/a", 0700));
	NEED(mkdir("/tmp/a/b", 0700));
	ERR(chdir("/tmp/a"));
	where();
	ERR(chdir("b"));
	where();
	ERR(chdir(".."));
	where();
	ERR(chdir("../../../../.."));
	where();
	ERR(chdir("tmp//a/./b/"));
	where();
	ERR(syscall(SYS_getcwd, small, sizeof(small)));
	NEED(symlink("/tmp/a/b", "/tmp/link"));
	ERR(chdir("/tmp/link/.."));
	where();
	int fd = NEED(open("/tmp/a/b", O_RDONLY));
	ERR(fchdir(fd));
	where();
	ERR(fchdir(77));
	close(NEED(open("file", O_CREAT | O_RDWR, 0600)));
	ERR(stat("/tmp/a/b/file", &status));
	ERR(chdir("file"));
	ERR(chdir("none"));
	ERR(chdir(""));
	int file = NEED(open("file", O_RDONLY));
	ERR(fchdir(file));
	CASE("moved");
	ERR(rename("/tmp/a", "/tmp/c"));
	where();
	CASE("removed");
	NEED(unlink("file"));
	NEED(rmdir("/tmp/c/b"));
	where();
	ERR(stat(".", &status));
	ERR(open("x", O_CREAT | O_RDWR, 0600));
	ERR(chdir(".."));
	where();
	DONE();
}
