// A directory of procfs that changes while it is read loses no entry; pidfd_send_signal takes a directory of procfs.
// variants: dynamic static-pie musl
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct entry {
	unsigned long inode;
	long offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

// Closes every descriptor from 10 on as it is listed, a few names at a time, as subprocess modules do.
static int close_listed(int directory)
{
	char buffer[128] __attribute__((aligned(8)));
	int closed = 0;
	for (long got; (got = syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0;)
		for (long at = 0; at < got;) {
			struct entry *entry = (struct entry *)(buffer + at);
			int fd = atoi(entry->name);
			if (fd >= 10 && fd != directory && close(fd) == 0)
				closed++;
			at += entry->length;
		}
	return closed;
}

static volatile int caught;

static void handler(int number)
{
	caught = number;
}

int main(void)
{
	for (int fd = 10; fd < 60; fd++)
		NEED(dup2(0, fd));
	int directory = NEED(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
	VAL(close_listed(directory));
	VAL(fcntl(10, F_GETFD));
	VAL(fcntl(59, F_GETFD));

	CASE("processes that end while they are listed");
	pid_t children[20];
	int seen = 0;
	for (int i = 0; i < 20; i++) {
		children[i] = NEED(fork());
		if (children[i] == 0) {
			pause();
			_exit(0);
		}
	}
	DIR *processes = opendir("/proc");
	for (struct dirent *entry; (entry = readdir(processes));)
		for (int i = 0; i < 20; i++)
			if (atoi(entry->d_name) == children[i]) {
				seen++;
				kill(children[i], SIGKILL);
				waitpid(children[i], NULL, 0);
			}
	closedir(processes);
	VAL(seen);

	CASE("pidfd_send_signal");
	signal(SIGUSR1, handler);
	int self = NEED(open("/proc/self", O_RDONLY | O_DIRECTORY));
	ERR(syscall(SYS_pidfd_send_signal, self, SIGUSR1, NULL, 0));
	VAL(caught == SIGUSR1);
	int fds = NEED(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
	ERR(syscall(SYS_pidfd_send_signal, fds, SIGUSR1, NULL, 0));
	ERR(syscall(SYS_pidfd_send_signal, 0, SIGUSR1, NULL, 0));
	DONE();
}
