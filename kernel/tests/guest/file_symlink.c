// Symbolic links: readlink's lengths, relative and absolute targets, chains, loops, links in the middle of paths.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	char text[64], name[64], target[64];
	struct stat status;
	NEED(mkdir("/tmp/dir", 0700));
	close(NEED(open("/tmp/dir/file", O_RDWR | O_CREAT, 0600)));
	ERR(symlink("dir/file", "/tmp/relative"));
	ERR(symlink("/tmp/dir", "/tmp/absolute"));
	ERR(symlink("x", "/tmp/relative"));
	ERR(symlink("", "/tmp/empty"));
	VAL(readlink("/tmp/relative", text, sizeof(text)));
	SAY("%.8s", text);
	VAL(readlink("/tmp/relative", text, 3));
	SAY("%.3s", text);
	ERR(readlink("/tmp/relative", text, 0));
	ERR(readlink("/tmp/dir", text, sizeof(text)));
	ERR(readlink("/tmp/none", text, sizeof(text)));
	ERR(stat("/tmp/relative", &status));
	ERR(stat("/tmp/absolute/file", &status));
	ERR(stat("/tmp/absolute/../absolute/./file", &status));
	ERR(lstat("/tmp/absolute/", &status));
	CHECK(S_ISDIR(status.st_mode));
	ERR(unlink("/tmp/absolute"));
	ERR(stat("/tmp/dir/file", &status));
	CASE("loops");
	NEED(symlink("loop2", "/tmp/loop1"));
	NEED(symlink("loop1", "/tmp/loop2"));
	ERR(stat("/tmp/loop1", &status));
	ERR(open("/tmp/loop1/x", O_RDONLY));
	ERR(lstat("/tmp/loop1", &status));
	CASE("chains of 40 are followed, of 41 are not");
	NEED(symlink("dir/file", "/tmp/chain1"));
	for (int i = 2; i <= 41; i++) {
		snprintf(name, sizeof(name), "/tmp/chain%d", i);
		snprintf(target, sizeof(target), "chain%d", i - 1);
		NEED(symlink(target, name));
	}
	ERR(stat("/tmp/chain40", &status));
	ERR(stat("/tmp/chain41", &status));
	DONE();
}
