// /proc/self: exe, cwd, fd, cmdline, environ, comm, stat, status, maps, statm as programs read them.
// variants: dynamic static-pie musl
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

static char text[65536];

static long slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	long length = 0, got;
	if (fd < 0)
		return -1;
	while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += got;
	text[length] = 0;
	close(fd);
	return length;
}

int main(int argc, char **argv)
{
	char link[256];
	CASE("exe");
	long length = readlink("/proc/self/exe", link, sizeof(link) - 1);
	CHECK(length > 0 && (link[length] = 0, strcmp(link, argv[0])) == 0);
	length = readlink("/proc/self/cwd", link, sizeof(link));
	SAY("cwd %.*s", (int)length, link);
	length = readlink("/proc/self/root", link, sizeof(link));
	SAY("root %.*s", (int)length, link);
	length = readlink("/proc/self", link, sizeof(link) - 1);
	CHECK(length > 0 && (link[length] = 0, atoi(link)) == getpid());

	CASE("fd");
	int fd = NEED(open("/tmp/some file", O_CREAT | O_RDWR, 0600));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	char target[64];
	length = readlink(link, target, sizeof(target));
	SAY("%.*s", (int)length, target);
	NEED(write(fd, "through", 7));
	int again = NEED(open(link, O_RDONLY));
	VAL(read(again, target, 64));
	int count = 0, found = 0;
	DIR *directory = opendir("/proc/self/fd");
	for (struct dirent *entry; (entry = readdir(directory));) {
		count++;
		found |= atoi(entry->d_name) == fd;
	}
	closedir(directory);
	CHECK(count == 2 + 3 + 3);
	CHECK(found);

	CASE("cmdline and environ");
	length = slurp("/proc/self/cmdline");
	CHECK(argc == 1 && length == (long)strlen(argv[0]) + 1 && strcmp(text, argv[0]) == 0);
	length = slurp("/proc/self/environ");
	SAY("%ld %s", length, text);
	slurp("/proc/self/comm");
	SAY("comm %s", text);

	CASE("stat");
	length = slurp("/proc/self/stat");
	int pid, parent;
	char command[32], state;
	CHECK(sscanf(text, "%d (%30[^)]) %c %d", &pid, command, &state, &parent) == 4);
	CHECK(pid == getpid() && parent == getppid());
	SAY("%s %c", command, state);
	int fields = 1;
	for (char *at = strrchr(text, ')'); *at; at++)
		fields += *at == ' ';
	CHECK(fields + 1 >= 44);

	CASE("status");
	slurp("/proc/self/status");
	char *name = strstr(text, "Name:\t"), *tracer = strstr(text, "Pid:\t"), *threads = strstr(text, "Threads:\t");
	CHECK(name && tracer && threads);
	CHECK(tracer && atoi(tracer + 5) == getpid());
	VAL(threads ? atoi(threads + 9) : -1);
	CHECK(strstr(text, "VmRSS:") && strstr(text, "Uid:\t0\t0\t0\t0") && strstr(text, "PPid:\t"));

	CASE("maps");
	length = slurp("/proc/self/maps");
	CHECK(length > 200);
	uintptr_t start, end, code = (uintptr_t)main, data = (uintptr_t)text, stack = (uintptr_t)link;
	int text_line = 0, data_line = 0, stack_line = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char permission[5] = "";
		if (sscanf(line, "%lx-%lx %4s", &start, &end, permission) != 3)
			SAY("bad line");
		if (code >= start && code < end)
			text_line = strcmp(permission, "r-xp") == 0 && strstr(line, argv[0]);
		if (data >= start && data < end)
			data_line = strcmp(permission, "rw-p") == 0;
		if (stack >= start && stack < end)
			stack_line = strcmp(permission, "rw-p") == 0 && strstr(line, "[stack]");
	}
	VAL(text_line);
	VAL(data_line);
	VAL(stack_line);
	slurp("/proc/self/statm");
	CHECK(atoi(text) > 0);
	ERR(open("/proc/self/none", O_RDONLY));
	ERR(open("/proc/999999", O_RDONLY));
	DONE();
}
