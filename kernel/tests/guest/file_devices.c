// /dev/null, /dev/zero, /dev/full, /dev/random and /dev/urandom.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

int main(void)
{
	static char text[10000], more[10000];
	int null = NEED(open("/dev/null", O_RDWR));
	VAL(read(null, text, 100));
	VAL(write(null, text, 10000));
	VAL(lseek(null, 5, SEEK_SET));
	ERR(ftruncate(null, 0));
	struct termios terminal;
	ERR(ioctl(null, TCGETS, &terminal));

	int zero = NEED(open("/dev/zero", O_RDWR));
	memset(text, 1, sizeof(text));
	VAL(read(zero, text, sizeof(text)));
	int sum = 0;
	for (unsigned i = 0; i < sizeof(text); i++)
		sum += text[i];
	VAL(sum);
	VAL(write(zero, text, 100));
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
	CHECK(map != MAP_FAILED && map[5000] == 0);

	int full = NEED(open("/dev/full", O_RDWR));
	VAL(read(full, text, 100));
	ERR(write(full, text, 100));

	for (int i = 0; i < 2; i++) {
		int random = NEED(open(i ? "/dev/random" : "/dev/urandom", O_RDONLY));
		VAL(read(random, text, 1000));
		VAL(read(random, more, 1000));
		CHECK(memcmp(text, more, 1000) != 0);
	}
	ERR(open("/dev/none", O_RDONLY));
	ERR(open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600));
	ERR(open("/dev/null", O_RDONLY | O_DIRECTORY));
	DONE();
}
