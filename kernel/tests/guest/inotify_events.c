// inotify: which events each change of a file or directory brings, to the directory and to the file itself.
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>

static int in;
static unsigned cookies[100], cookie_count;

static const char *mask_name(unsigned mask)
{
	static const struct { unsigned bit; const char *name; } bits[] = {
		{ IN_ACCESS, "ACCESS" }, { IN_MODIFY, "MODIFY" }, { IN_ATTRIB, "ATTRIB" },
		{ IN_CLOSE_WRITE, "CLOSE_WRITE" }, { IN_CLOSE_NOWRITE, "CLOSE_NOWRITE" }, { IN_OPEN, "OPEN" },
		{ IN_MOVED_FROM, "MOVED_FROM" }, { IN_MOVED_TO, "MOVED_TO" }, { IN_CREATE, "CREATE" },
		{ IN_DELETE, "DELETE" }, { IN_DELETE_SELF, "DELETE_SELF" }, { IN_MOVE_SELF, "MOVE_SELF" },
		{ IN_UNMOUNT, "UNMOUNT" }, { IN_Q_OVERFLOW, "Q_OVERFLOW" }, { IN_IGNORED, "IGNORED" },
		{ IN_ISDIR, "ISDIR" },
	};
	static char text[200];
	text[0] = 0;
	for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++)
		if (mask & bits[i].bit)
			strcat(strcat(text, text[0] ? "|" : ""), bits[i].name);
	return text;
}

// Cookies by the order in which they were first seen; 0 is none.
static unsigned cookie(unsigned value)
{
	if (value == 0)
		return 0;
	for (unsigned i = 0; i < cookie_count; i++)
		if (cookies[i] == value)
			return i + 1;
	cookies[cookie_count++] = value;
	return cookie_count;
}

// Shows all events that wait.
static void events(const char *what)
{
	static char buffer[8192] __attribute__((aligned(8)));
	SAY("-- %s", what);
	for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;) {
		for (char *p = buffer; p < buffer + n;) {
			struct inotify_event *e = (void *)p;
			SAY("%d %s cookie %u len %u %s", e->wd, mask_name(e->mask), cookie(e->cookie), e->len,
			    e->len ? e->name : "");
			p += sizeof *e + e->len;
		}
	}
	if (errno != EAGAIN)
		SAY("read: %s", errno_name(errno));
}

static void put(const char *name, const char *text)
{
	int fd = NEED(open(name, O_WRONLY | O_CREAT, 0644));
	NEED(write(fd, text, strlen(text)));
	close(fd);
}

int main(void)
{
	char bytes[100];
	in = NEED(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	NEED(chdir("/tmp"));
	NEED(mkdir("d", 0755));
	NEED(mkdir("other", 0755));
	put("d/f", "hello");

	CASE("opening, reading, writing");
	VAL(inotify_add_watch(in, "d", IN_ALL_EVENTS));
	VAL(inotify_add_watch(in, "d/f", IN_ALL_EVENTS));
	int fd = NEED(open("d/f", O_RDWR));
	NEED(read(fd, bytes, 2));
	NEED(read(fd, bytes, 2));
	NEED(pread(fd, bytes, 2, 0));
	NEED(read(fd, bytes, 0));
	NEED(write(fd, "x", 1));
	NEED(pwrite(fd, "x", 1, 0));
	close(fd);
	events("through a descriptor");
	put("d/new", "text");
	events("a new file");
	fd = NEED(open("d/cut", O_WRONLY | O_CREAT | O_TRUNC, 0644));
	events("made with O_TRUNC");
	close(fd);
	NEED(unlink("d/cut"));
	events("and removed");
	close(NEED(open("d/new", O_RDONLY)));
	close(NEED(open("d/new", O_WRONLY | O_TRUNC)));
	events("O_TRUNC");
	fd = NEED(open("d/new", O_PATH));
	close(fd);
	ERR(open("d/none", O_RDONLY));
	ERR(open("d/new", O_CREAT | O_EXCL | O_RDWR, 0600));
	events("nothing");
	int a = NEED(open("d/f", O_RDONLY)), b = NEED(open("d/new", O_RDWR));
	NEED(sendfile(b, a, NULL, 3));
	events("sendfile");
	int a2 = dup(a);
	close(a);
	events("not the last descriptor");
	close(a2);
	NEED(ftruncate(b, 1));
	NEED(posix_fallocate(b, 0, 100));
	close(b);
	NEED(truncate("d/new", 7));
	events("sizes");

	CASE("attributes");
	NEED(chmod("d/f", 0600));
	NEED(chown("d/f", 0, 0));
	NEED(utimensat(AT_FDCWD, "d/f", NULL, 0));
	struct timespec times[2] = { { 1, 0 }, { 0, UTIME_OMIT } };
	NEED(utimensat(AT_FDCWD, "d/f", times, 0));
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = 0;
	NEED(utimensat(AT_FDCWD, "d/f", times, 0));
	events("of a file");
	setxattr("d/f", "user.x", "y", 1, 0);
	events("xattr");
	NEED(chmod("d", 0700));
	events("of the directory");

	CASE("names");
	NEED(mkdir("d/sub", 0755));
	NEED(symlink("f", "d/link"));
	NEED(mkfifo("d/fifo", 0600));
	NEED(link("d/f", "d/hard"));
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "d/socket" };
	int s = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
	NEED(bind(s, (void *)&address, sizeof address));
	events("made");
	NEED(rename("d/hard", "d/renamed"));
	events("renamed");
	NEED(rename("d/new", "other/new"));
	events("moved out");
	NEED(rename("other/new", "d/back"));
	events("moved in");
	VAL(inotify_add_watch(in, "d/back", IN_ALL_EVENTS));
	VAL(inotify_add_watch(in, "d/sub", IN_ALL_EVENTS));
	put("d/victim", "v");
	events("watched");
	VAL(inotify_add_watch(in, "d/victim", IN_ALL_EVENTS));
	NEED(rename("d/back", "d/victim"));
	events("replaced");
	NEED(rename("d/sub", "d/dir"));
	events("a directory");
	NEED(renameat2(AT_FDCWD, "d/victim", AT_FDCWD, "d/f", RENAME_EXCHANGE));
	events("exchanged");
	NEED(unlink("d/link"));
	NEED(unlink("d/fifo"));
	NEED(unlink("d/socket"));
	events("removed");

	CASE("ends");
	NEED(unlink("d/f"));
	events("the last name of a file");
	fd = NEED(open("d/victim", O_RDONLY));
	NEED(unlink("d/victim"));
	events("one name of two, open");
	NEED(unlink("d/renamed"));
	events("the other name");
	NEED(read(fd, bytes, 1));
	close(fd);
	events("closed");
	NEED(rmdir("d/dir"));
	events("a directory");
	fd = NEED(open("d", O_RDONLY | O_DIRECTORY));
	DIR *dir = fdopendir(fd);
	while (readdir(dir))
		;
	closedir(dir);
	events("listed");
	NEED(rmdir("d"));
	events("the directory itself");
	DONE();
}
