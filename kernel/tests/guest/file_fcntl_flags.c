// F_GETFL and F_SETFL: what open gave, what may be changed, O_NONBLOCK's effect, unknown commands.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>

#define KNOWN (O_ACCMODE | O_APPEND | O_NONBLOCK | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC)

int main(void)
{
	char byte;
	int pipes[2];
	int fd = NEED(open("/tmp/f", O_CREAT | O_EXCL | O_RDWR | O_APPEND | O_CLOEXEC, 0666));
	SAY("%o", fcntl(fd, F_GETFL) & KNOWN);
	ERR(fcntl(fd, F_SETFL, O_NONBLOCK));
	SAY("%o", fcntl(fd, F_GETFL) & KNOWN);
	ERR(fcntl(fd, F_SETFL, O_WRONLY));
	SAY("%o", fcntl(fd, F_GETFL) & KNOWN);
	ERR(fcntl(fd, F_SETFD, FD_CLOEXEC));
	ERR(fcntl(fd, F_SETFD, 0));
	VAL(fcntl(fd, F_GETFD));
	ERR(fcntl(fd, 9999, 0));
	ERR(fcntl(77, F_GETFL));
	NEED(pipe(pipes));
	SAY("%o %o", fcntl(pipes[0], F_GETFL) & KNOWN, fcntl(pipes[1], F_GETFL) & KNOWN);
	ERR(fcntl(pipes[0], F_SETFL, O_NONBLOCK));
	ERR(read(pipes[0], &byte, 1));
	int path = NEED(open("/tmp/f", O_PATH));
	VAL((fcntl(path, F_GETFL) & O_PATH) != 0);
	ERR(fcntl(path, F_SETFL, O_APPEND));
	DONE();
}
