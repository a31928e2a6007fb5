// Which protections and kinds of mappings exist: mmap takes any protection bits, mprotect does not.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>

#define ANY MAP_PRIVATE | MAP_ANONYMOUS

static long map(int protection, int flags, int fd)
{
	char *at = mmap(NULL, 4096, protection, flags, fd, 0);
	if (at == MAP_FAILED)
		return -1;
	munmap(at, 4096);
	return 0;
}

int main(void)
{
	CASE("protection");
	ERR(map(PROT_READ | 8, ANY, -1));
	ERR(map(PROT_READ | 0x40000000, ANY, -1));
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, ANY, -1, 0);
	ERR(mprotect(page, 4096, PROT_READ | 8));
	ERR(mprotect(page, 4096, PROT_READ | 16));
	ERR(mprotect(page, 4096, PROT_READ | 0x40000000));
	ERR(mprotect(page + 1, 4096, PROT_READ));
	ERR(mprotect(page, -4096L, PROT_READ));
	CASE("kinds");
	ERR(map(PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1));
	ERR(map(PROT_READ, 3 | MAP_ANONYMOUS, -1));
	ERR(map(PROT_READ, MAP_ANONYMOUS, -1));
	int fd = NEED(open("/proc/self/exe", O_RDONLY));
	ERR(map(PROT_READ, 3, fd));
	ERR(map(PROT_READ, 3 | 0x80000, fd));
	ERR(map(PROT_READ, MAP_SHARED | 0x800000, fd));
	ERR(map(PROT_READ | PROT_WRITE, MAP_SHARED, fd));
	int path = NEED(open("/proc/self/exe", O_PATH));
	ERR(map(PROT_READ, MAP_PRIVATE, path));
	ERR(map(PROT_READ, MAP_PRIVATE, NEED(open("/", O_RDONLY))));
	ERR(map(PROT_READ, MAP_PRIVATE, 1000));
	DONE();
}
