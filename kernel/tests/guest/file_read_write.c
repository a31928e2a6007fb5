// read, write, pread, pwrite, and their vectored forms move the offset or leave it, and count what they did.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

int main(void)
{
	char text[32] = "";
	char a[4], b[4];
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));

	CASE("offset");
	VAL(write(fd, "hello world", 11));
	VAL(read(fd, text, 5));
	VAL(lseek(fd, 0, SEEK_SET));
	VAL(read(fd, text, 5));
	SAY("%.5s", text);
	VAL(read(fd, text, 0));
	VAL(lseek(fd, 0, SEEK_CUR));
	CASE("positioned");
	VAL(pwrite(fd, "J", 1, 0));
	VAL(pread(fd, text, 32, 6));
	SAY("%.5s", text);
	VAL(lseek(fd, 0, SEEK_CUR));
	VAL(pread(fd, text, 5, 100));
	ERR(pread(fd, text, 5, -1));
	CASE("a hole");
	VAL(pwrite(fd, "end", 3, 5000));
	memset(text, 1, sizeof(text));
	VAL(pread(fd, text, 10, 4990));
	VAL(text[0] | text[9]);
	VAL(lseek(fd, 0, SEEK_END));
	CASE("vectors");
	struct iovec out[3] = { { "ab", 2 }, { "", 0 }, { "cdef", 4 } };
	VAL(lseek(fd, 0, SEEK_SET));
	VAL(writev(fd, out, 3));
	VAL(lseek(fd, 0, SEEK_SET));
	struct iovec in[2] = { { a, 4 }, { b, 4 } };
	VAL(readv(fd, in, 2));
	SAY("%.4s %.4s", a, b);
	VAL(preadv(fd, in, 2, 1));
	SAY("%.4s %.4s", a, b);
	VAL(pwritev(fd, out, 3, 5001));
	VAL(lseek(fd, 0, SEEK_CUR));
	ERR(syscall(SYS_readv, fd, in, -1));
	ERR(syscall(SYS_writev, fd, out, 1025));
	VAL(readv(fd, in, 0));
	out[0].iov_len = -1;
	ERR(writev(fd, out, 2));
	CASE("bad descriptors");
	ERR(read(77, text, 1));
	ERR(write(-1, text, 1));
	int directory = NEED(open("/tmp", O_RDONLY));
	ERR(read(directory, text, 1));
	DONE();
}
