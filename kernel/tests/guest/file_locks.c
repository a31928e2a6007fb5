// Record locks belong to the process, flock and open-file-description locks to the open file.
#include "report.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

static int lock(int fd, int command, short type, off_t start, off_t length)
{
	struct flock request = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	return fcntl(fd, command, &request);
}

static int child_sees(int fd, off_t start)
{
	int status;
	pid_t child = vfork();
	if (child == 0) {
		struct flock request = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };
		if (fcntl(fd, F_GETLK, &request) != 0)
			_exit(100);
		_exit(request.l_type == F_UNLCK ? 0 : (request.l_pid == getppid() ? 10 : 20) + request.l_type);
	}
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

int main(void)
{
	int one = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0666));
	int two = NEED(open("/tmp/f", O_RDWR));
	CASE("records");
	ERR(lock(one, F_SETLK, F_WRLCK, 0, 10));
	ERR(lock(two, F_SETLK, F_WRLCK, 5, 10));
	VAL(child_sees(one, 0));
	VAL(child_sees(one, 15));
	ERR(lock(one, F_SETLK, F_RDLCK, 4, 2));
	VAL(child_sees(one, 3));
	VAL(child_sees(one, 4));
	ERR(lock(one, F_SETLK, F_UNLCK, 0, 3));
	VAL(child_sees(one, 1));
	VAL(child_sees(one, 3));
	close(two);
	VAL(child_sees(one, 3));
	ERR(lock(one, F_SETLK, 99, 0, 1));
	int reading = NEED(open("/tmp/f", O_RDONLY));
	ERR(lock(reading, F_SETLK, F_WRLCK, 0, 1));
	ERR(lock(reading, F_SETLK, F_RDLCK, 0, 1));
	CASE("flock");
	two = NEED(open("/tmp/f", O_RDWR));
	ERR(flock(one, LOCK_SH));
	ERR(flock(two, LOCK_SH | LOCK_NB));
	ERR(flock(two, LOCK_EX | LOCK_NB));
	ERR(flock(one, LOCK_UN));
	ERR(flock(two, LOCK_EX | LOCK_NB));
	ERR(flock(one, LOCK_EX | LOCK_NB));
	int copy = NEED(dup(two));
	close(two);
	ERR(flock(one, LOCK_EX | LOCK_NB));
	close(copy);
	ERR(flock(one, LOCK_EX | LOCK_NB));
	ERR(flock(one, 77));
	CASE("open file description");
	two = NEED(open("/tmp/f", O_RDWR));
	ERR(lock(one, F_OFD_SETLK, F_WRLCK, 100, 1));
	ERR(lock(two, F_OFD_SETLK, F_WRLCK, 100, 1));
	ERR(lock(two, F_OFD_SETLK, F_WRLCK, 101, 1));
	DONE();
}
