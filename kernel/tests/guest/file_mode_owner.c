// chmod, fchmod, chown, umask and what they leave, set-user-id bits included.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

static void show(const char *path)
{
	struct stat status;
	NEED(lstat(path, &status));
	SAY("%s: %o %d:%d", path, status.st_mode, status.st_uid, status.st_gid);
}

int main(void)
{
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0666));
	show("/tmp/f");
	ERR(chmod("/tmp/f", 0123));
	show("/tmp/f");
	ERR(fchmod(fd, 06755));
	show("/tmp/f");
	ERR(chown("/tmp/f", 1000, 2000));
	show("/tmp/f");
	ERR(fchown(fd, -1, 3000));
	show("/tmp/f");
	ERR(fchown(fd, 4000, -1));
	show("/tmp/f");
	NEED(symlink("f", "/tmp/l"));
	ERR(lchown("/tmp/l", 7, 8));
	show("/tmp/l");
	show("/tmp/f");
	ERR(fchmodat(AT_FDCWD, "/tmp/l", 0600, 0));
	show("/tmp/f");
	ERR(fchownat(AT_FDCWD, "/tmp/l", 9, 9, AT_SYMLINK_NOFOLLOW));
	show("/tmp/l");
	ERR(chmod("/tmp/none", 0600));
	ERR(chown("/tmp/none", 0, 0));
	CASE("umask");
	SAY("%o", umask(077));
	close(NEED(open("/tmp/g", O_CREAT | O_RDWR, 0666)));
	NEED(mkdir("/tmp/gd", 0777));
	show("/tmp/g");
	show("/tmp/gd");
	SAY("%o", umask(07777));
	SAY("%o", umask(022));
	CASE("read only file system");
	ERR(chmod("/etc/passwd", 0600));
	ERR(chown("/etc/passwd", 1, 1));
	ERR(open("/etc/passwd", O_RDWR));
	ERR(open("/newfile", O_CREAT | O_RDWR, 0600));
	ERR(mkdir("/newdir", 0700));
	ERR(unlink("/etc/passwd"));
	ERR(rename("/etc/passwd", "/etc/x"));
	ERR(truncate("/etc/passwd", 0));
	DONE();
}
