/*
 * storage: what files on a disk cost.
 *
 * usage: storage CASE DIRECTORY [MILLISECONDS]      (default 1000)
 *
 *     read          read(2) of a cached file of 64 MB from its start to its end, 64 KB at a time: MB/s
 *     write-fsync   append 4 KB to a file and fsync it: cycles per second
 *     open-close    open(2) and close(2) of a cached path of four components: microseconds
 *     stat          stat(2) of the same path: microseconds
 *     untar         tar unpacks 10,000 files of up to 8 KB in 100 directories: files per second
 *
 * Passes of some hundred microseconds, short enough that most are not interrupted on a busy machine (one of untar's is the
 * whole archive), are repeated until MILLISECONDS have passed; the result is their median. Prints one line of NAME=VALUE words:
 *     storage case=stat value=0.412 passes=97
 * Built static-pie with the host's gcc; runs natively and in the guest unchanged.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PASSES = 20000, FILE_SIZE = 64 << 20, CHUNK = 64 << 10, PASS = 2 << 20, CALLS = 500, FILES = 10000, DIRECTORIES = 100 };

extern char **environ;
static char buffer[CHUNK];
static double passes[MAX_PASSES];

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void write_all(int fd, const void *from, size_t len)
{
	if (write(fd, from, len) != (ssize_t)len)
		die("storage: write");
}

static int make_file(const char *name, int flags)
{
	int fd = open(name, O_CREAT | flags, 0644);

	if (fd < 0)
		die(name);
	return fd;
}

/* The next two megabytes, from the start again after the end; MB/s. */
static double read_pass(int fd)
{
	static int at;
	double start;

	if (at == FILE_SIZE / PASS)
		at = lseek(fd, 0, SEEK_SET);
	at++;
	start = now_us();
	for (int i = 0; i < PASS / CHUNK; i++)
		if (read(fd, buffer, CHUNK) != CHUNK)
			die("storage: read");
	return PASS / (now_us() - start) * (1e6 / 1048576);
}

static double sync_pass(int fd)
{
	double start = now_us();

	write_all(fd, buffer, 4096);
	if (fsync(fd))
		die("storage: fsync");
	return 1e6 / (now_us() - start);
}

static const char *path = "one/two/three/file";

static double open_pass(int unused)
{
	double start = now_us();

	(void)unused;
	for (int i = 0; i < CALLS; i++) {
		int fd = open(path, O_RDONLY);

		if (fd < 0 || close(fd))
			die(path);
	}
	return (now_us() - start) / CALLS;
}

static double stat_pass(int unused)
{
	double start = now_us();
	struct stat s;

	(void)unused;
	for (int i = 0; i < CALLS; i++)
		if (stat(path, &s))
			die(path);
	return (now_us() - start) / CALLS;
}

static void tar_header(int fd, const char *name, size_t size, char type)
{
	static unsigned char h[512];
	unsigned sum = 0;

	memset(h, 0, sizeof h);
	snprintf((char *)h, 100, "%s", name);
	snprintf((char *)h + 100, 8, "%07o", type == '5' ? 0755 : 0644);
	snprintf((char *)h + 108, 8, "%07o", 0);
	snprintf((char *)h + 116, 8, "%07o", 0);
	snprintf((char *)h + 124, 12, "%011o", (unsigned)size);
	snprintf((char *)h + 136, 12, "%011o", 1700000000u);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	write_all(fd, h, sizeof h);
}

/* The archive; the same bytes each time. */
static void make_archive(void)
{
	int fd = make_file("archive.tar", O_WRONLY | O_TRUNC);
	uint32_t random = 1;
	char name[100];

	for (int i = 0; i < FILES; i++) {
		size_t size;

		if (i % (FILES / DIRECTORIES) == 0) {
			snprintf(name, sizeof name, "directory-%d/", i / (FILES / DIRECTORIES));
			tar_header(fd, name, 0, '5');
		}
		random = random * 1664525 + 1013904223;
		size = (random >> 16) % 8192;
		snprintf(name, sizeof name, "directory-%d/file-number-%d", i / (FILES / DIRECTORIES), i);
		tar_header(fd, name, size, '0');
		for (size_t k = 0; k < size; k++)
			buffer[k] = random + k;
		memset(buffer + size, 0, 512);
		write_all(fd, buffer, (size + 511) & ~(size_t)511);
	}
	memset(buffer, 0, 1024);
	write_all(fd, buffer, 1024);
	if (fsync(fd) || close(fd))
		die("storage: the archive");
}

static int remove_one(const char *name, const struct stat *s, int type, struct FTW *at)
{
	(void)s, (void)type, (void)at;
	return remove(name);
}

static double untar_pass(int unused)
{
	char *words[] = { "tar", "-xf", "archive.tar", "-C", "tree", NULL };
	double start, took;
	int status;
	pid_t child;

	(void)unused;
	if (mkdir("tree", 0755))
		die("storage: mkdir");
	start = now_us();
	if (posix_spawnp(&child, "tar", NULL, NULL, words, environ) || waitpid(child, &status, 0) != child || status) {
		fprintf(stderr, "storage: tar failed\n");
		exit(1);
	}
	took = now_us() - start;
	if (access("tree/directory-99/file-number-9999", R_OK) || nftw("tree", remove_one, 20, FTW_DEPTH | FTW_PHYS))
		die("storage: the tree");
	sync();
	return FILES / took * 1e6;
}

int main(int argc, char **argv)
{
	double budget = argc > 3 ? atof(argv[3]) * 1e3 : 1e6, start;
	double (*pass)(int) = NULL;
	int fd = -1, warm_up = 1, count = 0;

	if (argc < 3 || (mkdir(argv[2], 0755), chdir(argv[2]))) {
		fprintf(stderr, "usage: storage read|write-fsync|open-close|stat|untar DIRECTORY [MILLISECONDS]\n");
		return 2;
	}
	if (!strcmp(argv[1], "read")) {
		fd = make_file("large", O_RDWR | O_TRUNC);
		for (int i = 0; i < FILE_SIZE / CHUNK; i++) {
			memset(buffer, i, sizeof buffer);
			write_all(fd, buffer, sizeof buffer);
		}
		if (fsync(fd) || lseek(fd, 0, SEEK_SET))
			die("storage: the file");
		pass = read_pass;
		warm_up = FILE_SIZE / PASS;
	} else if (!strcmp(argv[1], "write-fsync")) {
		fd = make_file("log", O_RDWR | O_TRUNC);
		memset(buffer, 'x', sizeof buffer);
		pass = sync_pass;
		warm_up = 20;
	} else if (!strcmp(argv[1], "open-close") || !strcmp(argv[1], "stat")) {
		mkdir("one", 0755), mkdir("one/two", 0755), mkdir("one/two/three", 0755);
		close(make_file(path, O_RDWR));
		pass = argv[1][0] == 'o' ? open_pass : stat_pass;
	} else if (!strcmp(argv[1], "untar")) {
		make_archive();
		pass = untar_pass;
	} else {
		fprintf(stderr, "storage: '%s' is no case\n", argv[1]);
		return 2;
	}
	sync();
	while (warm_up--)
		pass(fd);
	start = now_us();
	do
		passes[count++] = pass(fd);
	while (count < MAX_PASSES && now_us() - start < budget);
	qsort(passes, count, sizeof passes[0], by_value);
	printf("storage case=%s value=%.3f passes=%d\n", argv[1], passes[count / 2], count);
	return 0;
}
