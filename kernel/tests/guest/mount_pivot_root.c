// pivot_root(2): its conditions, where everybody is afterwards, and letting go of the old root.
#include "report.h"
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int pivot_root(const char *new_root, const char *put_old)
{
	return syscall(SYS_pivot_root, new_root, put_old);
}

int main(void)
{
	char where[100];
	NEED(mkdir("/tmp/new", 0755));
	NEED(mkdir("/tmp/plain", 0755));
	close(NEED(open("/tmp/file", O_CREAT | O_WRONLY, 0644)));

	CASE("errors");
	ERR(pivot_root("/tmp/none", "/tmp"));
	ERR(pivot_root("/tmp/new", "/tmp/none"));
	ERR(pivot_root("/tmp/file", "/tmp/new"));
	ERR(pivot_root("/tmp/plain", "/tmp/plain"));
	ERR(pivot_root("/tests", "/tests"));
	ERR(mount("x", "/tmp/new", "tmpfs", 0, "mode=755"));
	NEED(mkdir("/tmp/new/old", 0755));
	NEED(mkdir("/tmp/new/dir", 0755));
	ERR(pivot_root("/tmp/new", "/tmp/plain"));
	ERR(pivot_root("/tmp/new/dir", "/tmp/new/dir"));
	ERR(pivot_root("/tmp/new", "/tests"));
	ERR(pivot_root("/", "/tmp/new"));
	pid_t child = NEED(fork());
	if (child == 0) {
		NEED(setuid(1000));
		ERR(pivot_root("/tmp/new", "/tmp/new/old"));
		_exit(0);
	}
	NEED(waitpid(child, NULL, 0));

	CASE("the new root");
	int pipes[2], later[2];
	NEED(pipe(pipes));
	NEED(pipe(later));
	child = NEED(fork());
	if (child == 0) {
		char byte;
		NEED(chdir("/tests"));
		NEED(read(pipes[0], &byte, 1));
		SAY("elsewhere: %s", getcwd(where, sizeof where) ? where : errno_name(errno));
		_exit(0);
	}
	pid_t at_root = NEED(fork());
	if (at_root == 0) {
		char byte;
		NEED(chdir("/"));
		NEED(read(later[0], &byte, 1));
		SAY("at the root: %s %d", getcwd(where, sizeof where) ? where : errno_name(errno), access("dir", F_OK));
		_exit(0);
	}
	usleep(20000);
	NEED(chdir("/"));
	ERR(pivot_root("/tmp/new", "/tmp/new/old"));
	SAY("%s", getcwd(where, sizeof where) ? where : errno_name(errno));
	ERR(access("/dir", F_OK));
	ERR(access("dir", F_OK));
	ERR(access("/tests", F_OK));
	ERR(access("/old/tests", F_OK));
	ERR(access("/old/tmp/file", F_OK));
	ERR(access("/old/tmp/new/dir", F_OK));
	ERR(chdir("/.."));
	SAY("%s", getcwd(where, sizeof where) ? where : errno_name(errno));
	int status;
	NEED(write(pipes[1], "x", 1));
	NEED(waitpid(child, &status, 0));
	NEED(write(later[1], "x", 1));
	NEED(waitpid(at_root, &status, 0));

	CASE("without the old one");
	ERR(umount2("/old", MNT_DETACH));
	ERR(access("/old/tests", F_OK));
	ERR(rmdir("/old"));
	DONE();
}
