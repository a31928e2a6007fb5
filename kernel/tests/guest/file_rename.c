// rename over files and directories, into itself, of a name onto its own hard link; renameat2 NOREPLACE and EXCHANGE.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NOREPLACE 1
#define EXCHANGE 2

static void put(const char *path, const char *text)
{
	int fd = NEED(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	NEED(write(fd, text, strlen(text)));
	close(fd);
}

static void show(const char *path)
{
	char text[16] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, 15) < 0)
		SAY("%s: %s", path, errno_name(errno));
	else
		SAY("%s: %s", path, text);
	close(fd);
}

static long rename2(const char *from, const char *to, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

int main(void)
{
	put("/tmp/a", "a");
	put("/tmp/b", "b");
	ERR(rename("/tmp/a", "/tmp/b"));
	show("/tmp/a");
	show("/tmp/b");
	NEED(link("/tmp/b", "/tmp/c"));
	ERR(rename("/tmp/b", "/tmp/c"));
	show("/tmp/b");
	ERR(rename("/tmp/b", "/tmp/b"));

	CASE("directories");
	NEED(mkdir("/tmp/d", 0700));
	NEED(mkdir("/tmp/e", 0700));
	put("/tmp/d/x", "x");
	ERR(rename("/tmp/d", "/tmp/e"));
	show("/tmp/e/x");
	NEED(mkdir("/tmp/d", 0700));
	ERR(rename("/tmp/d", "/tmp/e"));
	ERR(rename("/tmp/e", "/tmp/e/below"));
	ERR(rename("/tmp/b", "/tmp/d"));
	ERR(rename("/tmp/d", "/tmp/b"));
	ERR(rename("/tmp/e", "/tmp/d/e"));
	show("/tmp/d/e/x");
	ERR(rename("/tmp/none", "/tmp/n"));
	ERR(rename("/tmp/b", "/tmp/none/b"));
	ERR(rename("/tmp/b", "/tmp/b2/"));
	ERR(rename("/tmp/d", "/tmp/d2/"));
	show("/tmp/d2/e/x");
	ERR(rename("/tmp/d2/.", "/tmp/d3"));

	CASE("flags");
	put("/tmp/p", "p");
	put("/tmp/q", "q");
	ERR(rename2("/tmp/p", "/tmp/q", NOREPLACE));
	ERR(rename2("/tmp/p", "/tmp/r", NOREPLACE));
	ERR(rename2("/tmp/r", "/tmp/q", EXCHANGE));
	show("/tmp/r");
	show("/tmp/q");
	ERR(rename2("/tmp/r", "/tmp/none", EXCHANGE));
	ERR(rename2("/tmp/r", "/tmp/q", EXCHANGE | NOREPLACE));
	ERR(rename2("/tmp/r", "/tmp/q", 0x100));
	ERR(rename2("/tmp/r", "/tmp/d2", EXCHANGE));
	show("/tmp/r/e/x");
	DONE();
}
