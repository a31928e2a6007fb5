// preadv2 and pwritev2: an offset of -1 is the file's own, flags that are unknown are refused.
#include "report.h"
#include <fcntl.h>
#include <sys/uio.h>

int main(void)
{
	char text[8] = "";
	struct iovec vector = { text, 4 };
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(write(fd, "abcdefgh", 8));
	VAL(preadv2(fd, &vector, 1, 2, 0));
	SAY("%.4s", text);
	VAL(lseek(fd, 1, SEEK_SET));
	VAL(preadv2(fd, &vector, 1, -1, 0));
	SAY("%.4s", text);
	VAL(lseek(fd, 0, SEEK_CUR));
	memcpy(text, "WXYZ", 4);
	VAL(pwritev2(fd, &vector, 1, -1, 0));
	VAL(lseek(fd, 0, SEEK_CUR));
	VAL(pwritev2(fd, &vector, 1, 0, RWF_APPEND));
	VAL(lseek(fd, 0, SEEK_END));
	ERR(preadv2(fd, &vector, 1, 0, 0x40000000));
	DONE();
}
