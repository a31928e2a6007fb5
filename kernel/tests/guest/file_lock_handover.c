// A lock that is given up and taken again at once: who waited for it all along still gets it in the end.
#include "report.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

static const char path[] = "/tmp/handover";

static int take(int fd, int record, int lock, int wait)
{
	struct flock range = { .l_type = lock ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET };
	if (record)
		return fcntl(fd, wait ? F_SETLKW : F_SETLK, &range);
	return flock(fd, (lock ? LOCK_EX : LOCK_UN) | (wait ? 0 : LOCK_NB));
}

static void nap(int milliseconds)
{
	nanosleep(&(struct timespec){ .tv_nsec = milliseconds * 1000000L }, NULL);
}

static void handover(int record)
{
	int fd = NEED(open(path, O_RDWR | O_CREAT, 0600));
	NEED(take(fd, record, 1, 1));
	pid_t children[2];
	for (int i = 0; i < 2; i++) {
		children[i] = NEED(fork());
		if (children[i] == 0) {
			int own = NEED(open(path, O_RDWR));
			NEED(take(own, record, 1, 1));
			nap(5);
			NEED(take(own, record, 0, 1));
			_exit(7);
		}
	}
	nap(50);
	// Nobody else runs between the two calls: the waiters find the lock taken when they come to look.
	NEED(take(fd, record, 0, 1));
	int again = take(fd, record, 1, 0);
	nap(50);
	if (again == 0)
		NEED(take(fd, record, 0, 1));
	for (int i = 0; i < 2; i++) {
		int status = 0;
		NEED(waitpid(children[i], &status, 0));
		VAL(WEXITSTATUS(status));
	}
	ERR(take(fd, record, 1, 0));
	NEED(close(fd));
}

int main(void)
{
	alarm(20);
	CASE("flock");
	handover(0);
	CASE("record locks");
	handover(1);
	DONE();
}
