/*
 * guest-init: the first program of a guest whose kernel sets up neither mounts nor network nor the end of the machine
 * by itself, as Flatland's does: MMU User-Mode Linux.
 *
 * From the environment, where the kernel puts NAME=VALUE words of its command line that it does not know:
 *     FLATLAND_ARGV=HEX          the command: its words, each ended by a zero byte, in hexadecimal digits
 *     FLATLAND_NIC=IF,ADDR,MASK  optional: an interface to bring up
 * Mounts what programs expect, runs the command on the console, prints
 *     flatland-exit STATUS
 * (128 + N when signal N ended it) and powers off. Built static-pie with the host's gcc.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 256, MAX_BYTES = 8192 };

static void finish(int status)
{
	printf("flatland-exit %d\n", status);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	_exit(status);
}

static void fail(const char *what)
{
	printf("guest-init: %s: %s\n", what, strerror(errno));
	finish(125);
}

/* What the kernel has mounted already (EBUSY), or the tree has no place for, is no failure. */
static void mount_on(const char *type, const char *place, const char *data)
{
	if (mount(type, place, type, MS_NOSUID, data) < 0 && errno != EBUSY && errno != ENOENT)
		fail(place);
}

static void mount_all(void)
{
	mount_on("proc", "/proc", NULL);
	mount_on("sysfs", "/sys", NULL);
	mount_on("devtmpfs", "/dev", "mode=0755");
	mkdir("/dev/shm", 01777);
	mkdir("/dev/pts", 0755);
	mount_on("tmpfs", "/dev/shm", "mode=1777");
	mount_on("devpts", "/dev/pts", NULL);
	mount_on("tmpfs", "/tmp", "mode=1777");
	mount_on("tmpfs", "/run", "mode=0755");
}

static void take_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		return;
	for (int n = 0; n < 3; n++)
		dup2(fd, n);
	if (fd > 2)
		close(fd);
}

static void interface_up(int sock, const char *name)
{
	struct ifreq request;

	memset(&request, 0, sizeof request);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (ioctl(sock, SIOCGIFFLAGS, &request) < 0)
		fail(name);
	request.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &request) < 0)
		fail(name);
}

static void set_address(int sock, unsigned long call, const char *name, const char *address)
{
	struct ifreq request;
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;

	memset(&request, 0, sizeof request);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	in->sin_family = AF_INET;
	errno = EINVAL;
	if (inet_pton(AF_INET, address, &in->sin_addr) != 1 || ioctl(sock, call, &request) < 0)
		fail(address);
}

static void set_up_network(char *nic)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *name, *address, *mask;

	if (sock < 0)
		fail("socket");
	interface_up(sock, "lo");
	if (!nic)
		return;
	name = strtok(nic, ",");
	address = strtok(NULL, ",");
	mask = strtok(NULL, ",");
	errno = EINVAL;
	if (!name || !address || !mask)
		fail("FLATLAND_NIC");
	set_address(sock, SIOCSIFADDR, name, address);
	set_address(sock, SIOCSIFNETMASK, name, mask);
	interface_up(sock, name);
	close(sock);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Fills argv with the words of FLATLAND_ARGV. */
static void decode(const char *hex, char **argv)
{
	static char bytes[MAX_BYTES];
	int length = 0, words = 0, start = 0;

	errno = EINVAL;
	for (; hex && hex[0] && hex[1] && length < MAX_BYTES; hex += 2) {
		int high = digit(hex[0]), low = digit(hex[1]);
		if (high < 0 || low < 0)
			fail("FLATLAND_ARGV");
		bytes[length++] = high << 4 | low;
		if (bytes[length - 1] == 0 && words < MAX_WORDS) {
			argv[words++] = bytes + start;
			start = length;
		}
	}
	if (words == 0 || start != length)
		fail("FLATLAND_ARGV");
	argv[words] = NULL;
}

int main(void)
{
	char *argv[MAX_WORDS + 1];
	int status;
	pid_t pid, ended;

	mount_all();
	take_console();
	set_up_network(getenv("FLATLAND_NIC"));
	decode(getenv("FLATLAND_ARGV"), argv);
	unsetenv("FLATLAND_ARGV");
	unsetenv("FLATLAND_NIC");
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);

	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		execv(argv[0], argv);
		printf("guest-init: %s: %s\n", argv[0], strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	do
		ended = wait(&status);
	while (ended != pid && (ended > 0 || errno == EINTR));
	if (ended < 0)
		fail("wait");
	finish(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
