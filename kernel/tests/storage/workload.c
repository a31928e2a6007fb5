/*
 * A random workload on a file system, and what a tree holds.
 *
 * usage: workload run SEED STEPS DIRECTORY     makes STEPS random changes below DIRECTORY
 *        workload dump DIRECTORY [nomap]       prints every object below it, in the order of names
 *
 * The changes follow from the seed and from what is there, so that two file systems that behave alike end with one tree.
 * "run" prints how each hundredth step ended and a sum over the errors of all, which shows where two systems part.
 * "dump" prints type, mode, owner, links, and for files size, a sum over the contents and where data and holes are
 * (unless nomap is said); targets of links; extended attributes; modification times that a step has set.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { MOST = 6000, SET_TIME = 1000000000 };

static uint64_t state;
static char *dirs[MOST], *files[MOST];
static int ndirs, nfiles;
static char bytes[1 << 16];

static uint32_t below(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

static void die(const char *what)
{
	printf("workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *copy(const char *s)
{
	char *c = strdup(s);

	if (!c)
		die("strdup");
	return c;
}

static void enter(char **list, int *count, const char *path)
{
	if (*count < MOST)
		list[(*count)++] = copy(path);
}

static void leave(char **list, int *count, int i)
{
	free(list[i]);
	memmove(list + i, list + i + 1, (--*count - i) * sizeof *list);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "lost+found");
}

static void scan(const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, no_dots, by_name);

	if (n < 0)
		die(dir);
	enter(dirs, &ndirs, dir);
	for (int i = 0; i < n; i++) {
		char path[4096];
		struct stat s;

		snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
		if (lstat(path, &s))
			die(path);
		if (S_ISDIR(s.st_mode))
			scan(path);
		else
			enter(files, &nfiles, path);
		free(names[i]);
	}
	free(names);
}

static void scan_again(void)
{
	while (ndirs)
		free(dirs[--ndirs]);
	while (nfiles)
		free(files[--nfiles]);
	scan(".");
}

/* A new name below a random directory; the first directory fills up, some names are long. */
static void new_path(char *path)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz\xc3\xa4-.";
	const char *dir = dirs[below(3) ? below(ndirs) : (ndirs > 1)];
	int n = sprintf(path, "%.3000s/%c", dir, 'a' + below(26)), len = below(20) ? below(24) : 200;

	while (len--)
		path[n++] = letters[below(sizeof letters - 1)];
	path[n] = 0;
}

static int fail(int result)
{
	return result < 0 ? errno : 0;
}

/* Opens what is surely a regular file: the devices that are made here must not be touched. */
static int open_file(const char *path)
{
	struct stat s;

	if (lstat(path, &s))
		return -1;
	if (!S_ISREG(s.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	return open(path, O_RDWR | O_NOFOLLOW);
}

static int write_some(int fd)
{
	uint32_t at = below(4) ? below(100000) : below(3000000), len = below(6) ? 1 + below(6000) : 1 + below(60000);

	if (!below(3))
		at &= ~4095u;
	if (!below(3))
		len = (len + 4095) & ~4095u;
	memset(bytes, 1 + below(255), len);
	for (uint32_t i = 0; i < len; i += 97)
		bytes[i] = i;
	return pwrite(fd, bytes, len, at) == (ssize_t)len ? 0 : errno;
}

static int step(int *moved)
{
	char path[4096], other[4096], name[32];
	int f = nfiles ? (int)below(nfiles) : -1, d = below(ndirs), fd, result;
	struct timespec times[2];

	new_path(path);
	switch (f < 0 ? below(3) : below(24)) {
	case 0: case 1: case 2: case 3:
		fd = open(path, O_CREAT | O_EXCL | O_RDWR, below(01000));
		if (fd < 0)
			return errno;
		enter(files, &nfiles, path);
		result = below(3) ? write_some(fd) : 0;
		close(fd);
		return result;
	case 4: case 5: case 6: case 7:
		fd = open_file(files[f]);
		if (fd < 0)
			return errno;
		result = write_some(fd);
		if (!below(8) && fsync(fd))
			result = errno;
		close(fd);
		return result;
	case 8: case 9:
		return fail(truncate(files[f], below(3) ? below(150000) : below(5000000)));
	case 10: case 11:
		result = fail(unlink(files[f]));
		if (!result)
			leave(files, &nfiles, f);
		return result;
	case 12:
		result = fail(link(files[f], path));
		if (!result)
			enter(files, &nfiles, path);
		return result;
	case 13: case 14:
		if (below(3)) {
			result = fail(rename(files[f], path));
			if (!result) {
				leave(files, &nfiles, f);
				enter(files, &nfiles, path);
			}
			return result;
		}
		strcpy(other, files[below(nfiles)]);
		*moved = 1;
		return fail(renameat2(AT_FDCWD, files[f], AT_FDCWD, other, below(2) ? RENAME_EXCHANGE : 0));
	case 15: case 16:
		result = strlen(path) < 1500 ? fail(mkdir(path, below(2) ? 0755 : 01777)) : 0;
		if (!result && strlen(path) < 1500)
			enter(dirs, &ndirs, path);
		return result;
	case 17:
		if (d == 0)
			return 0;
		if (below(3)) {
			result = fail(rmdir(dirs[d]));
			if (!result)
				leave(dirs, &ndirs, d);
			return result;
		}
		*moved = 1;
		return fail(rename(dirs[d], below(3) ? path : dirs[below(ndirs)]));
	case 18:
		memset(bytes, 'l', 400);
		bytes[1 + below(below(3) ? 80 : 300)] = 0;
		result = fail(symlink(bytes, path));
		if (!result)
			enter(files, &nfiles, path);
		return result;
	case 19: case 20:
		snprintf(name, sizeof name, "user.%c", 'a' + below(3));
		memset(bytes, 'a' + below(26), 200);
		return below(4) ? fail(lsetxattr(below(4) ? files[f] : dirs[d], name, bytes, below(200), 0))
				: fail(lremovexattr(files[f], name));
	case 21:
		return below(2) ? fail(chmod(files[f], below(010000))) : fail(lchown(files[f], below(70000), below(70000)));
	case 22:
		times[0].tv_sec = below(SET_TIME), times[0].tv_nsec = below(SET_TIME);
		times[1].tv_sec = below(SET_TIME), times[1].tv_nsec = below(SET_TIME);
		return fail(utimensat(AT_FDCWD, files[f], times, AT_SYMLINK_NOFOLLOW));
	default:
		if (!below(4)) {
			result = fail(mknod(path, below(2) ? S_IFIFO | 0600 : S_IFCHR | 0640, makedev(below(300), below(70000))));
			if (!result)
				enter(files, &nfiles, path);
			return result;
		}
		fd = open_file(files[f]);
		if (fd < 0)
			return errno;
		result = fail(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(100000), 1 + below(60000)));
		close(fd);
		return result;
	}
}

static int run(int steps)
{
	uint64_t sum = 0;

	umask(0);
	scan(".");
	for (int i = 1; i <= steps; i++) {
		int moved = 0, error = step(&moved);

		sum = (sum ^ (uint64_t)error) * 0x100000001b3u;
		if (moved)
			scan_again();
		if (i % 100 == 0)
			printf("step %d: error %d, sum %016llx, %d files, %d directories\n", i, error,
			       (unsigned long long)sum, nfiles, ndirs);
		if (i % 700 == 0)
			sync();
	}
	sync();
	return 0;
}

static uint64_t sum_of(int fd)
{
	uint64_t sum = 0xcbf29ce484222325u;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof bytes)) > 0)
		for (ssize_t i = 0; i < n; i++)
			sum = (sum ^ (uint8_t)bytes[i]) * 0x100000001b3u;
	if (n < 0)
		die("read");
	return sum;
}

static void dump_file(const char *path, const struct stat *s, int map)
{
	int fd = open(path, O_RDONLY);
	off_t at = 0;

	if (fd < 0)
		die(path);
	printf(" size %lld sum %016llx", (long long)s->st_size, (unsigned long long)sum_of(fd));
	while (map && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		printf(" %lld", (long long)at);
		at = lseek(fd, at, SEEK_HOLE);
		printf("-%lld", (long long)at);
	}
	close(fd);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump_xattrs(const char *path)
{
	char list[4096], value[4096], *names[64];
	ssize_t n = llistxattr(path, list, sizeof list);
	int count = 0;

	if (n < 0 && errno != EOPNOTSUPP)
		die(path);
	for (ssize_t i = 0; i < n; i += strlen(list + i) + 1)
		if (!strncmp(list + i, "user.", 5) && count < 64)
			names[count++] = list + i;
	qsort(names, count, sizeof *names, by_text);
	for (int i = 0; i < count; i++) {
		ssize_t len = lgetxattr(path, names[i], value, sizeof value);

		if (len < 0)
			die(names[i]);
		printf(" %s=%.*s", names[i], (int)len, value);
	}
}

static void dump(const char *path, int map)
{
	struct dirent **names;
	struct stat s;
	int n = 0;

	if (lstat(path, &s))
		die(path);
	printf("%s mode %o owner %u:%u links %lu", path, s.st_mode, s.st_uid, s.st_gid, (unsigned long)s.st_nlink);
	if (S_ISREG(s.st_mode))
		dump_file(path, &s, map);
	if (S_ISCHR(s.st_mode))
		printf(" device %u:%u", major(s.st_rdev), minor(s.st_rdev));
	if (S_ISLNK(s.st_mode)) {
		ssize_t len = readlink(path, bytes, sizeof bytes);

		if (len < 0)
			die(path);
		printf(" -> %.*s", (int)len, bytes);
	}
	if (s.st_mtime < SET_TIME)
		printf(" time %lld.%09ld", (long long)s.st_mtime, s.st_mtim.tv_nsec);
	dump_xattrs(path);
	printf("\n");
	if (!S_ISDIR(s.st_mode))
		return;
	n = scandir(path, &names, no_dots, by_name);
	if (n < 0)
		die(path);
	for (int i = 0; i < n; i++) {
		char child[4096];

		snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name);
		dump(child, map);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	if (argc >= 5 && !strcmp(argv[1], "run") && !chdir(argv[4])) {
		state = strtoull(argv[2], NULL, 10);
		return run(atoi(argv[3]));
	}
	if (argc >= 3 && !strcmp(argv[1], "dump") && !chdir(argv[2])) {
		sync();
		dump(".", argc < 4);
		return 0;
	}
	fprintf(stderr, "usage: workload run SEED STEPS DIRECTORY | workload dump DIRECTORY [nomap]\n");
	return 2;
}
