// MAP_FIXED replaces what the program owns, MAP_FIXED_NOREPLACE refuses to, a free hint is taken.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

int main(void)
{
	char *base = mmap(NULL, 8 * 4096, RW, ANON, -1, 0);
	memset(base, 1, 8 * 4096);

	CASE("fixed in the middle");
	CHECK(mmap(base + 8192, 8192, RW, ANON | MAP_FIXED, -1, 0) == base + 8192);
	VAL(base[8191]);
	VAL(base[8192]);
	VAL(base[16383]);
	VAL(base[16384]);

	CASE("no replace");
	ERR(mmap(base + 4096, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	VAL(base[4096]);
	munmap(base + 4096, 4096);
	CHECK(mmap(base + 4096, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == base + 4096);
	VAL(base[4096]);

	CASE("hints");
	munmap(base + 16384, 4096);
	CHECK(mmap(base + 16384, 4096, RW, ANON, -1, 0) == base + 16384);
	char *other = mmap(base, 4096, RW, ANON, -1, 0);
	CHECK(other != MAP_FAILED && other != base);
	VAL(base[0]);
	DONE();
}
