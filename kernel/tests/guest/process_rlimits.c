// Limits are kept, inherited and checked: open files, file size, what may be raised.
#include "report.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

int main(void)
{
	struct rlimit limit;
	NEED(getrlimit(RLIMIT_NOFILE, &limit));
	SAY("%lu %lu", limit.rlim_cur, limit.rlim_max);
	limit.rlim_cur = 5000;
	ERR(setrlimit(RLIMIT_NOFILE, &limit));
	limit = (struct rlimit){ 100, 200 };
	ERR(setrlimit(RLIMIT_NOFILE, &limit));
	limit = (struct rlimit){ 50, 0 };
	ERR(prlimit(0, RLIMIT_NOFILE, NULL, &limit));
	SAY("%lu %lu", limit.rlim_cur, limit.rlim_max);
	ERR(fcntl(1, F_DUPFD, 100));
	ERR(fcntl(1, F_DUPFD, 99));
	ERR(dup2(1, 100));
	ERR(getrlimit(99, &limit));
	CASE("file size");
	limit = (struct rlimit){ 1000, 1000 };
	ERR(setrlimit(RLIMIT_FSIZE, &limit));
	signal(SIGXFSZ, SIG_IGN);
	static char text[1500];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	VAL(write(fd, text, 1500));
	ERR(write(fd, text, 1));
	ERR(ftruncate(fd, 1001));
	ERR(ftruncate(fd, 900));
	CASE("inherited");
	static volatile long inherited;
	pid_t child = vfork();
	if (child == 0) {
		getrlimit(RLIMIT_NOFILE, &limit);
		inherited = limit.rlim_cur;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	VAL(inherited);
	NEED(getrlimit(RLIMIT_STACK, &limit));
	VAL(limit.rlim_cur);
	NEED(getrlimit(RLIMIT_CORE, &limit));
	VAL(limit.rlim_cur);
	DONE();
}
