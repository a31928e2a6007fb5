// What execve refuses without looking inside, and interpreters that are none.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void put(const char *path, const void *bytes, int length, int mode)
{
	int fd = NEED(open(path, O_CREAT | O_WRONLY | O_TRUNC, 0700));
	NEED(write(fd, bytes, length));
	close(fd);
	NEED(chmod(path, mode));
}

static int try(const char *path)
{
	char *arguments[] = { "x", NULL }, *environment[] = { NULL };
	return execve(path, arguments, environment);
}

// Says how execve fails, in a line of its own: the errno may have no name in report.h.
static void bad_interpreter(const char *path)
{
	int result = try(path);
	SAY("%d %s", result, errno == ELIBBAD ? "ELIBBAD" : errno_name(errno));
}

// The smallest program that names an interpreter.
static void put_with_interpreter(const char *path, const char *interpreter)
{
	static char image[0x200];
	memset(image, 0, sizeof image);
	memcpy(image, "\177ELF\2\1\1", 7);
	*(short *)(image + 16) = 3;
	*(short *)(image + 18) = 62;
	*(int *)(image + 20) = 1;
	*(long *)(image + 32) = 64;
	*(short *)(image + 52) = 64;
	*(short *)(image + 54) = 56;
	*(short *)(image + 56) = 2;
	char *load = image + 64, *interp = image + 120;
	*(int *)load = 1;
	*(int *)(load + 4) = 5;
	*(long *)(load + 32) = *(long *)(load + 40) = sizeof image;
	*(long *)(load + 48) = 4096;
	*(int *)interp = 3;
	*(long *)(interp + 8) = 0x180;
	*(long *)(interp + 32) = *(long *)(interp + 40) = strlen(interpreter) + 1;
	strcpy(image + 0x180, interpreter);
	put(path, image, sizeof image, 0755);
}

int main(void)
{
	CASE("no regular files");
	NEED(mkfifo("/tmp/fifo", 0777));
	alarm(2);
	ERR(try("/tmp/fifo"));
	ERR(try("/dev/null"));
	ERR(try("/tmp"));
	alarm(0);
	CASE("scripts");
	put("/tmp/crlf", "#!/bin/sh\r\nexit 0\r\n", 19, 0755);
	ERR(try("/tmp/crlf"));
	CASE("interpreters");
	put_with_interpreter("/tmp/missing", "/tmp/none");
	bad_interpreter("/tmp/missing");
	static const char text[100] = "text";
	put("/tmp/text", text, sizeof text, 0755);
	put_with_interpreter("/tmp/of_text", "/tmp/text");
	bad_interpreter("/tmp/of_text");
	put_with_interpreter("/tmp/of_directory", "/tmp");
	bad_interpreter("/tmp/of_directory");
	CASE("a mount without execution");
	NEED(mkdir("/tmp/noexec", 0755));
	NEED(mount("tmpfs", "/tmp/noexec", "tmpfs", MS_NOEXEC, NULL));
	put("/tmp/noexec/script", "#!/bin/true\n", 12, 0755);
	ERR(try("/tmp/noexec/script"));
	CASE("may be executed but not read");
	put("/tmp/unreadable", "#!/tmp/none\n", 12, 0111);
	pid_t child = NEED(fork());
	if (child == 0) {
		NEED(setgid(1000));
		NEED(setuid(1000));
		ERR(try("/tmp/unreadable"));
		ERR(open("/tmp/unreadable", O_RDONLY));
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	DONE();
}
