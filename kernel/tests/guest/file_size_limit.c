// RLIMIT_FSIZE: what lies beyond is refused with SIGXFSZ and EFBIG, what fits is written.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int caught;

static void on_signal(int number)
{
	(void)number;
	caught++;
}

static off_t size_of(int fd)
{
	struct stat info;
	NEED(fstat(fd, &info));
	return info.st_size;
}

int main(void)
{
	int fd = NEED(open("/tmp/file", O_CREAT | O_RDWR, 0600));
	int large = NEED(open("/tmp/large", O_CREAT | O_RDWR, 0600));
	NEED(ftruncate(large, 5000));
	struct rlimit limit = { 100, RLIM_INFINITY };
	signal(SIGXFSZ, on_signal);
	NEED(setrlimit(RLIMIT_FSIZE, &limit));
	char bytes[200] = { 0 };

	CASE("writes");
	VAL(write(fd, bytes, 60));
	VAL(write(fd, bytes, 60));
	VAL(caught);
	ERR(write(fd, bytes, 60));
	VAL(caught);
	ERR(pwrite(fd, bytes, 1, 500));
	VAL(caught);
	VAL(write(fd, bytes, 0));
	VAL(caught);
	VAL(size_of(fd));

	CASE("changes of the size");
	ERR(ftruncate(fd, 101));
	VAL(caught);
	ERR(truncate("/tmp/file", 101));
	VAL(caught);
	ERR(ftruncate(fd, 100));
	ERR(ftruncate(fd, 10));
	// A file that is beyond the limit already may become smaller.
	ERR(ftruncate(large, 4000));
	ERR(truncate("/tmp/large", 3000));
	VAL(caught);
	VAL(size_of(large));

	CASE("without a handler");
	pid_t child = NEED(fork());
	if (child == 0) {
		limit.rlim_cur = 0;
		struct rlimit no_core = { 0, 0 };
		setrlimit(RLIMIT_CORE, &no_core);
		setrlimit(RLIMIT_FSIZE, &limit);
		signal(SIGXFSZ, SIG_DFL);
		write(fd, bytes, 1);
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WIFSIGNALED(status));
	SAY("%s", signal_name(WTERMSIG(status)));
	DONE();
}
