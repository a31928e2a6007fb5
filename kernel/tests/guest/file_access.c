// access and faccessat2 for root: everything but executing what has no x bit; AT_EACCESS; bad modes.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int main(void)
{
	close(NEED(open("/tmp/plain", O_RDWR | O_CREAT, 0600)));
	close(NEED(open("/tmp/nothing", O_RDWR | O_CREAT, 0)));
	close(NEED(open("/tmp/program", O_RDWR | O_CREAT, 0711)));
	ERR(access("/tmp/plain", F_OK));
	ERR(access("/tmp/plain", R_OK | W_OK));
	ERR(access("/tmp/plain", X_OK));
	ERR(access("/tmp/nothing", R_OK | W_OK));
	ERR(access("/tmp/program", X_OK));
	ERR(access("/tmp", R_OK | W_OK | X_OK));
	ERR(access("/tmp/none", F_OK));
	ERR(access("/tmp/plain/x", F_OK));
	ERR(access("/tmp/plain", 8));
	ERR(access("/etc/passwd", R_OK));
	ERR(access("/etc/passwd", W_OK));
	ERR(syscall(SYS_faccessat, AT_FDCWD, "/tmp/plain", R_OK));
	ERR(syscall(439, AT_FDCWD, "/tmp/plain", R_OK, AT_EACCESS));
	ERR(syscall(439, AT_FDCWD, "/tmp/plain", R_OK, 0x4000000));
	NEED(symlink("/tmp/none", "/tmp/dangling"));
	ERR(syscall(439, AT_FDCWD, "/tmp/dangling", F_OK, 0));
	ERR(syscall(439, AT_FDCWD, "/tmp/dangling", F_OK, AT_SYMLINK_NOFOLLOW));
	DONE();
}
