// mkdir, rmdir, link counts of directories, and their errors.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

static int links(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 ? (int)status.st_nlink : -1;
}

int main(void)
{
	struct stat status;
	ERR(mkdir("/tmp/d", 0777));
	NEED(stat("/tmp/d", &status));
	SAY("mode %o", status.st_mode);
	VAL(links("/tmp/d"));
	ERR(mkdir("/tmp/d", 0777));
	ERR(mkdir("/tmp/d/", 0777));
	ERR(mkdir("/tmp/d/one", 0777));
	ERR(mkdir("/tmp/d/two/", 0777));
	VAL(links("/tmp/d"));
	ERR(mkdir("/tmp/none/x", 0777));
	ERR(rmdir("/tmp/d"));
	ERR(rmdir("/tmp/d/one"));
	VAL(links("/tmp/d"));
	ERR(rmdir("/tmp/d/two/"));
	ERR(rmdir("/tmp/d/."));
	ERR(rmdir("/tmp/d/.."));
	ERR(rmdir("/tmp/d"));
	ERR(rmdir("/tmp/d"));
	close(NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600)));
	ERR(rmdir("/tmp/f"));
	ERR(mkdir("/tmp/f", 0700));
	ERR(mkdir("/tmp/f/x", 0700));
	ERR(rmdir("/tmp"));
	ERR(rmdir("/"));
	ERR(mkdir("/", 0700));
	ERR(mkdir("", 0700));
	DONE();
}
