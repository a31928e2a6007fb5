// Starts the program named by its first argument as a child and ends as the child ended: with its status, or with
// 128 + signal. It is process 1 on both sides, so that the program is an ordinary process on both, and it makes equal
// what a child inherits: descriptors, signals, limits, umask, environment, session, and a loopback interface that is up.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void limit(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit limits = { soft, hard };
	setrlimit(resource, &limits);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static char *environment[] = { "PATH=/bin:/usr/bin", "HOME=/", "TMPDIR=/tmp", "LC_ALL=C", NULL };
	sigset_t none;
	pid_t child;
	int status;

	if (argc < 2)
		return 127;
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	umask(022);
	syscall(SYS_close_range, 3, ~0u, 0);
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_NOFILE, 1024, 4096);
	limit(RLIMIT_STACK, 8 << 20, RLIM_INFINITY);
	loopback_up();
	if (chdir("/") != 0)
		return 126;

	child = vfork();
	if (child == 0) {
		execve(argv[1], argv + 1, environment);
		_exit(127);
	}
	if (child < 0)
		return 125;
	for (;;) {
		pid_t ended = waitpid(-1, &status, 0);
		if (ended == child)
			break;
		if (ended < 0 && errno != EINTR)
			return 124;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
