// pidfd_getfd(2): a descriptor of another process becomes one of the caller's.
#include "report.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int pidfd_open(pid_t pid)
{
	return syscall(SYS_pidfd_open, pid, 0);
}

static int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return syscall(SYS_pidfd_getfd, pidfd, fd, flags);
}

int main(void)
{
	int p[2], go[2], ready[2];
	char byte;
	NEED(pipe(go));
	NEED(pipe(ready));
	pid_t child = NEED(fork());
	if (child == 0) {
		close(go[1]);
		NEED(pipe(p));
		NEED(dup2(p[1], 40));
		NEED(dup2(p[0], 41));
		NEED(write(p[1], "first", 5));
		NEED(write(ready[1], "r", 1));
		_exit(read(go[0], &byte, 1) != 0);
	}
	NEED(read(ready[0], &byte, 1));
	int pidfd = NEED(pidfd_open(child));

	CASE("errors");
	ERR(pidfd_getfd(pidfd, 40, 1));
	ERR(pidfd_getfd(go[0], 40, 0));
	ERR(pidfd_getfd(999, 40, 0));
	ERR(pidfd_getfd(pidfd, 39, 0));
	ERR(pidfd_getfd(pidfd, -1, 0));

	CASE("sharing");
	int r = NEED(pidfd_getfd(pidfd, 41, 0));
	VAL(fcntl(r, F_GETFD));
	char text[10];
	VAL(read(r, text, sizeof text));
	int w = NEED(pidfd_getfd(pidfd, 40, 0));
	VAL(write(w, "x", 1));
	VAL(fcntl(w, F_GETFL) & O_ACCMODE);
	int self = NEED(pidfd_open(getpid()));
	int again = NEED(pidfd_getfd(self, r, 0));
	CHECK(again != r);
	VAL(read(again, text, sizeof text));

	CASE("permission");
	pid_t other = NEED(fork());
	if (other == 0) {
		NEED(setuid(1000));
		ERR(pidfd_getfd(pidfd, 41, 0));
		_exit(0);
	}
	NEED(waitpid(other, NULL, 0));

	CASE("after its end");
	close(go[1]);
	NEED(waitpid(child, NULL, 0));
	ERR(pidfd_getfd(pidfd, 41, 0));
	DONE();
}
