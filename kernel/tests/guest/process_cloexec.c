// Across exec: descriptors with FD_CLOEXEC close, others keep number and offset; two numbers of one file differ.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	int status;
	char text[8];
	if (argc > 1) {
		for (int fd = 3; fd < 60; fd++)
			if (fcntl(fd, F_GETFD) >= 0)
				SAY("open %d", fd);
		VAL(read(20, text, 3));
		SAY("%.3s", text);
		return 0;
	}
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	NEED(write(fd, "abcdef", 6));
	NEED(lseek(fd, 2, SEEK_SET));
	NEED(dup2(fd, 20));
	NEED(dup3(fd, 21, O_CLOEXEC));
	NEED(fcntl(fd, F_DUPFD_CLOEXEC, 22));
	NEED(fcntl(fd, F_DUPFD, 23));
	NEED(dup2(NEED(epoll_create1(EPOLL_CLOEXEC)), 30));
	NEED(eventfd(0, EFD_CLOEXEC));
	NEED(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	NEED(fcntl(NEED(dup2(fd, 40)), F_SETFD, FD_CLOEXEC));
	pid_t child = vfork();
	if (child == 0) {
		execl("/proc/self/exe", argv[0], "x", NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	VAL(lseek(fd, 0, SEEK_CUR));
	DONE();
}
