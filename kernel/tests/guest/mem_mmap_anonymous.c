// Anonymous private mappings: zeroed, page-aligned, apart from each other, gone after munmap.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/mman.h>
#include <stdint.h>

int main(void)
{
	char *a = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED);
	CHECK(((uintptr_t)a & 4095) == 0 && ((uintptr_t)b & 4095) == 0);
	CHECK(b + 4096 <= a || b >= a + 12288);
	int sum = 0;
	for (int i = 0; i < 12288; i++)
		sum |= a[i];
	VAL(sum);
	memset(a, 7, 12288);
	ERR(munmap(a, 10000));
	ERR(munmap(b, 4096));
	ERR(munmap(b, 4096));
	ERR(munmap(b + 1, 4096));
	ERR(munmap(b, 0));
	ERR(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ERR(mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
	ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0));
	ERR(mmap(NULL, 1ul << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ERR(mmap((void *)1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	DONE();
}
