// System-wide procfs entries have the lines that programs look for.
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>

static char text[1 << 20];

static char *slurp(const char *path)
{
	long length = 0, got;
	int fd = open(path, O_RDONLY);
	if (fd >= 0)
		while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
			length += got;
	text[length] = 0;
	close(fd);
	return text;
}

static int has(const char *what)
{
	return strstr(text, what) != NULL;
}

int main(void)
{
	double up, idle, one, five, fifteen;
	slurp("/proc/cpuinfo");
	CHECK(has("processor\t: 0\n") && has("flags\t\t:") && has("cpu MHz\t\t:") && has(" sse2 "));
	slurp("/proc/meminfo");
	CHECK(has("MemTotal:") && has("MemFree:") && has("MemAvailable:") && has(" kB\n"));
	CHECK(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle) == 2 && up > 0);
	CHECK(sscanf(slurp("/proc/loadavg"), "%lf %lf %lf", &one, &five, &fifteen) == 3);
	slurp("/proc/stat");
	CHECK(strncmp(text, "cpu  ", 5) == 0 && has("\ncpu0 ") && has("\nbtime ") && has("\nprocesses "));
	slurp("/proc/version");
	CHECK(strncmp(text, "Linux version ", 14) == 0);
	slurp("/proc/filesystems");
	CHECK(has("tmpfs") && has("proc"));
	slurp("/proc/self/mounts");
	CHECK(has(" /tmp tmpfs ") && has(" /proc proc "));
	slurp("/proc/net/dev");
	CHECK(has("lo:") && has("Receive"));
	slurp("/proc/net/tcp");
	CHECK(has("local_address"));
	CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) > 300);
	slurp("/proc/sys/kernel/ostype");
	SAY("%s", text);
	CHECK(atoi(slurp("/proc/sys/net/core/somaxconn")) > 0);
	DONE();
}
