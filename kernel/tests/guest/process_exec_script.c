// A script's first line names its interpreter and one argument; interpreters may be scripts themselves.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void put(const char *path, const char *text)
{
	int fd = NEED(open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755));
	NEED(write(fd, text, strlen(text)));
	close(fd);
}

static void start(const char *path)
{
	int status;
	pid_t child = vfork();
	if (child == 0) {
		execl(path, "zero", "one", "two", NULL);
		_exit(100);
	}
	waitpid(child, &status, 0);
	SAY("status %d", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	char text[256];
	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			SAY("argument %d: %s", i, argv[i]);
		SAY("started as the interpreter %d", strncmp(argv[0], "/tests/", 7) == 0);
		return argc;
	}
	snprintf(text, sizeof(text), "#!%s\nrest\n", argv[0]);
	put("/tmp/simple", text);
	start("/tmp/simple");
	snprintf(text, sizeof(text), "#! \t%s   -x  and  more \t \nrest\n", argv[0]);
	put("/tmp/argument", text);
	start("/tmp/argument");
	put("/tmp/chain", "#!/tmp/argument chained\n");
	start("/tmp/chain");
	snprintf(text, sizeof(text), "#!%s", argv[0]);
	put("/tmp/no_newline", text);
	start("/tmp/no_newline");
	CASE("by descriptor");
	int fd = NEED(open("/tmp/simple", O_RDONLY));
	int status;
	pid_t child = vfork();
	if (child == 0) {
		fexecve(fd, (char *[]){ "zero", "one", NULL }, (char *[]){ NULL });
		_exit(101);
	}
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status));
	VAL(WEXITSTATUS(status));
	DONE();
}
