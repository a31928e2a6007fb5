// sendfile and copy_file_range between files, pipes and sockets, with and without offsets.
#include "report.h"
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

int main(void)
{
	static char text[200000], copy[200000];
	int pipes[2], pair[2];
	off_t offset = 100;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = i * 7 + i / 251;
	int in = NEED(open("/tmp/in", O_CREAT | O_RDWR, 0600));
	int out = NEED(open("/tmp/out", O_CREAT | O_RDWR, 0600));
	NEED(write(in, text, sizeof(text)));

	CASE("file to file");
	VAL(sendfile(out, in, &offset, 1000));
	VAL(offset);
	VAL(lseek(in, 0, SEEK_CUR));
	VAL(sendfile(out, in, NULL, 1000));
	NEED(lseek(in, 0, SEEK_SET));
	VAL(sendfile(out, in, NULL, 300000));
	VAL(lseek(in, 0, SEEK_CUR));
	VAL(pread(out, copy, sizeof(copy), 1000));
	CHECK(memcmp(copy, text, sizeof(text)) == 0);
	CASE("file to pipe and socket");
	NEED(pipe(pipes));
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	offset = 5;
	VAL(sendfile(pipes[1], in, &offset, 4000));
	VAL(read(pipes[0], copy, 8000));
	CHECK(memcmp(copy, text + 5, 4000) == 0);
	VAL(sendfile(pair[1], in, &offset, 4000));
	VAL(recv(pair[0], copy, 4000, MSG_WAITALL));
	CHECK(memcmp(copy, text + 4005, 4000) == 0);
	CASE("errors");
	ERR(sendfile(pipes[1], pipes[0], NULL, 10));
	ERR(sendfile(77, in, NULL, 10));
	int reading = NEED(open("/tmp/out", O_RDONLY));
	ERR(sendfile(reading, in, NULL, 10));

	CASE("copy_file_range");
	loff_t from = 10, to = 20;
	NEED(ftruncate(out, 0));
	VAL(copy_file_range(in, &from, out, &to, 100, 0));
	VAL(from);
	VAL(to);
	VAL(lseek(out, 0, SEEK_END));
	VAL(pread(out, copy, 100, 20));
	CHECK(memcmp(copy, text + 10, 100) == 0);
	from = 300000;
	VAL(copy_file_range(in, &from, out, &to, 100, 0));
	ERR(copy_file_range(in, NULL, out, NULL, 100, 1));
	ERR(copy_file_range(pipes[0], NULL, out, NULL, 100, 0));
	DONE();
}
