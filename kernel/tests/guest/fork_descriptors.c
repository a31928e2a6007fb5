// After fork descriptors share their offset and flags, closing one leaves the other; a pipe joins the two.
#include "report.h"
#include <fcntl.h>
#include <sys/wait.h>

int main(void)
{
	int status, to_child[2], to_parent[2];
	char text[16];
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	NEED(write(fd, "abcdefgh", 8));
	NEED(lseek(fd, 0, SEEK_SET));
	NEED(pipe(to_child));
	NEED(pipe(to_parent));
	pid_t child = NEED(fork());
	if (child == 0) {
		close(to_child[1]);
		close(to_parent[0]);
		while (read(to_child[0], text, 1) == 1) {
			NEED(read(fd, text, 2));
			NEED(write(to_parent[1], text, 2));
		}
		close(fd);
		_exit(8);
	}
	close(to_child[0]);
	close(to_parent[1]);
	for (int i = 0; i < 3; i++) {
		NEED(write(to_child[1], "x", 1));
		NEED(read(to_parent[0], text, 2));
		SAY("child read %.2s, offset %ld", text, (long)lseek(fd, 0, SEEK_CUR));
	}
	close(to_child[1]);
	VAL(read(to_parent[0], text, 1));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	VAL(read(fd, text, 2));
	DONE();
}
