// /proc/self: oom_score_adj, coredump_filter, personality: written, read back, inherited; smaps_rollup has the sums of smaps.
// variants: dynamic static-pie
#include "report.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char text[1 << 20];

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	long length = 0, got;
	if (fd < 0)
		return "cannot be opened\n";
	while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += got;
	text[length] = 0;
	close(fd);
	return text;
}

static void put(const char *path, const char *value)
{
	int fd = NEED(open(path, O_WRONLY));
	long written = write(fd, value, strlen(value));
	SAY("%s <- %s: %s", path, value, written < 0 ? strerror(errno) : "written");
	close(fd);
	SAY("%s", slurp(path));
}

static long sum_of(const char *key)
{
	long sum = 0;
	for (const char *at = text; (at = strstr(at, key)); at += strlen(key))
		if (at == text || at[-1] == '\n')
			sum += atol(at + strlen(key));
	return sum;
}

// What may be set depends on CAP_SYS_RESOURCE, which not every root has.
static void drop_privilege(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	NEED(syscall(SYS_capget, &header, data));
	data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
	NEED(syscall(SYS_capset, &header, data));
}

int main(void)
{
	drop_privilege();
	CASE("oom_score_adj");
	const char *adj = "/proc/self/oom_score_adj";
	SAY("%s", slurp(adj));
	put(adj, "500");
	put(adj, "-17\n");
	put(adj, "1001");
	put(adj, "-1001");
	put(adj, "much");
	put(adj, "");
	put(adj, "300");
	if (fork() == 0) {
		SAY("child %s", slurp(adj));
		put(adj, "400");
		_exit(0);
	}
	wait(NULL);
	SAY("parent %s", slurp(adj));
	int score = atoi(slurp("/proc/self/oom_score"));
	put(adj, "900");
	CHECK(atoi(slurp("/proc/self/oom_score")) > score);
	put(adj, "-1000");
	put(adj, "0");

	CASE("coredump_filter");
	const char *filter = "/proc/self/coredump_filter";
	SAY("%s", slurp(filter));
	put(filter, "0x7f");
	put(filter, "010");
	put(filter, "0xffff");
	put(filter, "12x");
	if (fork() == 0) {
		SAY("child %s", slurp(filter));
		_exit(0);
	}
	wait(NULL);

	CASE("personality");
	SAY("%s", slurp("/proc/self/personality"));
	NEED(personality(ADDR_NO_RANDOMIZE));
	SAY("%s", slurp("/proc/self/personality"));

	CASE("smaps_rollup");
	slurp("/proc/self/smaps_rollup");
	CHECK(strstr(text, "---p 00000000 00:00 0"));
	CHECK(strstr(text, "[rollup]\n"));
	long rss = sum_of("Rss:"), anonymous = sum_of("Anonymous:");
	CHECK(rss >= anonymous && anonymous > 0);
	slurp("/proc/self/smaps");
	CHECK(labs(sum_of("Rss:") - rss) < 256);
	CHECK(labs(sum_of("Anonymous:") - anonymous) < 256);
	return 0;
}
