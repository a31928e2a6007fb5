// vfork: the parent sleeps until the child has exited, sees its writes, and has its own descriptors.
// variants: dynamic static-pie musl fixed
#include "report.h"
#include <fcntl.h>
#include <sys/wait.h>

__attribute__((noinline)) static pid_t start(int code)
{
	pid_t child = vfork();
	if (child == 0)
		_exit(code);
	return child;
}

int main(void)
{
	static volatile int shared;
	int status;
	int fd = NEED(open("/dev/null", O_RDWR));
	pid_t parent = getpid();
	pid_t child = vfork();
	if (child == 0) {
		shared = getpid() != parent && getppid() == parent ? 1 : 2;
		close(fd);
		usleep(20000);
		shared += 10;
		_exit(3);
	}
	VAL(shared);
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	ERR(fcntl(fd, F_GETFD));
	CHECK(getpid() == parent);
	ERR(waitpid(child, &status, 0));
	CASE("many, one after the other");
	int right = 0;
	for (int i = 0; i < 200; i++) {
		child = start(i);
		right += waitpid(child, &status, 0) == child && WEXITSTATUS(status) == i;
	}
	VAL(right);
	DONE();
}
