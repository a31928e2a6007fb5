// A user who is not root meets the mode bits: owner, group, other, directories, the sticky bit.
#include "report.h"
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

static void put(const char *path, int mode, int uid, int gid)
{
	close(NEED(open(path, O_CREAT | O_RDWR, 0600)));
	NEED(chmod(path, mode));
	NEED(chown(path, uid, gid));
}

int main(void)
{
	struct stat status;
	put("/tmp/owner", 0400, 1000, 1);
	put("/tmp/owner_none", 0077, 1000, 1);
	put("/tmp/group", 0040, 1, 500);
	put("/tmp/second", 0020, 1, 600);
	put("/tmp/other", 0004, 1, 1);
	put("/tmp/nothing", 0, 1, 1);
	NEED(mkdir("/tmp/closed", 0700));
	put("/tmp/closed/inside", 0666, 1000, 1);
	NEED(mkdir("/tmp/search", 0711));
	put("/tmp/search/inside", 0644, 1, 1);
	NEED(mkdir("/tmp/list", 0744));
	put("/tmp/list/inside", 0644, 1, 1);
	NEED(setgroups(1, (gid_t[]){ 600 }));
	NEED(setgid(500));
	NEED(setuid(1000));
	ERR(open("/tmp/owner", O_RDONLY));
	ERR(open("/tmp/owner", O_WRONLY));
	ERR(open("/tmp/owner_none", O_RDONLY));
	ERR(open("/tmp/group", O_RDONLY));
	ERR(open("/tmp/group", O_WRONLY));
	ERR(open("/tmp/second", O_WRONLY));
	ERR(open("/tmp/other", O_RDONLY));
	ERR(open("/tmp/nothing", O_RDONLY));
	ERR(stat("/tmp/nothing", &status));
	ERR(access("/tmp/owner", W_OK));
	CASE("directories");
	ERR(open("/tmp/closed", O_RDONLY));
	ERR(open("/tmp/closed/inside", O_RDONLY));
	ERR(open("/tmp/search", O_RDONLY));
	ERR(open("/tmp/search/inside", O_RDONLY));
	ERR(open("/tmp/list", O_RDONLY));
	ERR(stat("/tmp/list/inside", &status));
	ERR(mkdir("/tmp/search/new", 0700));
	ERR(chdir("/tmp/closed"));
	CASE("sticky");
	ERR(unlink("/tmp/nothing"));
	ERR(rename("/tmp/nothing", "/tmp/x"));
	ERR(unlink("/tmp/owner"));
	CASE("ownership");
	ERR(chmod("/tmp/owner_none", 0600));
	ERR(chmod("/tmp/other", 0666));
	ERR(chown("/tmp/owner_none", 1000, 600));
	ERR(chown("/tmp/owner_none", 1, -1));
	ERR(utimensat(AT_FDCWD, "/tmp/other", NULL, 0));
	ERR(mknod("/tmp/device", S_IFCHR | 0600, 0x103));
	ERR(sethostname("x", 1));
	DONE();
}
