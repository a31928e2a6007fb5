// getdents64 lists every name once with its type, over several calls, and starts again after a rewind.
// variants: dynamic static-pie musl
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct entry {
	unsigned long inode;
	long offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

static char names[200][32];
static int count;

static int compare(const void *left, const void *right)
{
	return strcmp(left, right);
}

static void list(int fd, size_t size)
{
	static char buffer[4096] __attribute__((aligned(8)));
	long got;
	int calls = 0;
	count = 0;
	while ((got = syscall(SYS_getdents64, fd, buffer, size)) > 0) {
		calls++;
		for (long at = 0; at < got;) {
			struct entry *entry = (struct entry *)(buffer + at);
			snprintf(names[count++], 32, "%.20s type %d", entry->name, entry->type);
			at += entry->length;
		}
	}
	SAY("end %ld, several calls %d, names %d", got, calls > 1, count);
	qsort(names, count, sizeof(names[0]), compare);
}

int main(void)
{
	char name[32];
	NEED(mkdir("/tmp/d", 0700));
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "/tmp/d/file%02d", i);
		close(NEED(open(name, O_CREAT | O_RDWR, 0600)));
	}
	NEED(mkdir("/tmp/d/sub", 0700));
	NEED(symlink("x", "/tmp/d/link"));
	NEED(mkfifo("/tmp/d/fifo", 0600));
	int fd = NEED(open("/tmp/d", O_RDONLY | O_DIRECTORY));
	list(fd, 200);
	for (int i = 0; i < count; i++)
		SAY("%s", names[i]);
	CASE("again");
	list(fd, 4096);
	NEED(lseek(fd, 0, SEEK_SET));
	list(fd, 4096);
	ERR(syscall(SYS_getdents64, fd, name, 0));
	NEED(lseek(fd, 0, SEEK_SET));
	ERR(syscall(SYS_getdents64, fd, name, 8));
	int file = NEED(open("/tmp/d/file00", O_RDONLY));
	ERR(syscall(SYS_getdents64, file, name, 32));

	CASE("readdir while removing");
	DIR *directory = opendir("/tmp/d");
	int removed = 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		if (strncmp(entry->d_name, "file", 4) == 0 && unlinkat(dirfd(directory), entry->d_name, 0) == 0)
			removed++;
	closedir(directory);
	VAL(removed);
	DONE();
}
