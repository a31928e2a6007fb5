// Record locks are not inherited by a forked child and conflict with it; a blocked F_SETLKW gets the lock in turn.
#include "report.h"
#include <fcntl.h>
#include <sys/wait.h>

static int lock(int fd, int command, short type)
{
	struct flock request = { .l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	return fcntl(fd, command, &request);
}

int main(void)
{
	int status, pipes[2];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	NEED(pipe(pipes));
	NEED(lock(fd, F_SETLK, F_WRLCK));
	pid_t child = NEED(fork());
	if (child == 0) {
		ERR(lock(fd, F_SETLK, F_WRLCK));
		struct flock request = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
		NEED(fcntl(fd, F_GETLK, &request));
		CHECK(request.l_type == F_WRLCK && request.l_pid == getppid());
		NEED(write(pipes[1], "w", 1));
		ERR(lock(fd, F_SETLKW, F_WRLCK));
		_exit(0);
	}
	char byte;
	NEED(read(pipes[0], &byte, 1));
	usleep(20000);
	VAL(waitpid(child, &status, WNOHANG));
	NEED(lock(fd, F_SETLK, F_UNLCK));
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	DONE();
}
