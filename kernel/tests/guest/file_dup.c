// dup, dup2, dup3 share the offset and flags but not close-on-exec; lowest free numbers are used.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/resource.h>

int main(void)
{
	char text[8];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR | O_CLOEXEC, 0666));
	int copy = NEED(dup(fd));
	VAL(copy - fd);
	VAL(fcntl(fd, F_GETFD));
	VAL(fcntl(copy, F_GETFD));
	NEED(write(fd, "abcdef", 6));
	VAL(lseek(copy, 0, SEEK_CUR));
	NEED(lseek(copy, 2, SEEK_SET));
	VAL(read(fd, text, 2));
	SAY("%.2s", text);
	VAL(dup2(fd, 20));
	VAL(dup2(fd, 20));
	VAL(dup2(fd, fd));
	VAL(fcntl(fd, F_GETFD));
	VAL(dup3(fd, 21, O_CLOEXEC));
	VAL(fcntl(21, F_GETFD));
	ERR(dup3(fd, fd, 0));
	ERR(dup3(fd, 22, O_APPEND));
	ERR(dup2(77, 30));
	ERR(dup(77));
	ERR(dup2(fd, -1));
	ERR(dup2(fd, 1024));
	close(fd);
	VAL(dup(copy) == fd);
	VAL(fcntl(copy, F_DUPFD, 100));
	VAL(fcntl(copy, F_DUPFD_CLOEXEC, 100));
	VAL(fcntl(101, F_GETFD));
	ERR(fcntl(copy, F_DUPFD, 100000));
	CASE("flags are shared");
	NEED(fcntl(100, F_SETFL, O_APPEND));
	VAL((fcntl(copy, F_GETFL) & O_APPEND) != 0);
	CASE("limit");
	struct rlimit limit = { 24, 4096 };
	NEED(setrlimit(RLIMIT_NOFILE, &limit));
	int made = 0;
	while (dup(copy) >= 0)
		made++;
	SAY("%s", errno_name(errno));
	CHECK(made > 10);
	ERR(open("/tmp/f", O_RDONLY));
	ERR(pipe((int[2]){ 0 }));
	ERR(close(77));
	DONE();
}
