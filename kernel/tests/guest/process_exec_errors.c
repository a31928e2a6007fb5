// execve's errors: nothing there, no permission, a directory, no known format, too long; the caller goes on.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void put(const char *path, const char *text, int length, int mode)
{
	int fd = NEED(open(path, O_CREAT | O_WRONLY | O_TRUNC, mode));
	NEED(write(fd, text, length));
	close(fd);
	NEED(chmod(path, mode));
}

static int try(const char *path)
{
	char *arguments[] = { "x", NULL }, *environment[] = { NULL };
	return execve(path, arguments, environment);
}

int main(void)
{
	ERR(try("/tmp/none"));
	ERR(try(""));
	ERR(try("/tmp"));
	put("/tmp/plain", "text", 4, 0644);
	ERR(try("/tmp/plain"));
	put("/tmp/format", "no program\n", 11, 0755);
	ERR(try("/tmp/format"));
	put("/tmp/empty", "", 0, 0755);
	ERR(try("/tmp/empty"));
	put("/tmp/short", "\177ELF\2\1\1", 7, 0755);
	ERR(try("/tmp/short"));
	ERR(try("/tmp/plain/x"));
	put("/tmp/lost", "#!/tmp/none\n", 12, 0755);
	ERR(try("/tmp/lost"));
	put("/tmp/empty_line", "#!\n", 3, 0755);
	ERR(try("/tmp/empty_line"));
	put("/tmp/self", "#!/tmp/self\n", 12, 0755);
	ERR(try("/tmp/self"));
	put("/tmp/to_directory", "#!/tmp\n", 7, 0755);
	ERR(try("/tmp/to_directory"));
	put("/tmp/to_plain", "#!/tmp/plain\n", 13, 0755);
	ERR(try("/tmp/to_plain"));
	CASE("too much");
	char *large = malloc(200000);
	memset(large, 'a', 199999);
	large[199999] = 0;
	char *arguments[] = { "x", large, NULL };
	ERR(execve("/proc/self/exe", arguments, NULL));
	static char *many[100] = { 0 };
	large[120000] = 0;
	for (int i = 0; i < 99; i++)
		many[i] = large;
	ERR(execve("/proc/self/exe", many, NULL));
	CASE("an ELF of another machine");
	char header[4096];
	int fd = NEED(open("/proc/self/exe", O_RDONLY));
	NEED(read(fd, header, sizeof(header)));
	header[18] = 0xb7;
	put("/tmp/arm", header, sizeof(header), 0755);
	ERR(try("/tmp/arm"));
	DONE();
}
