// 8 GB of address space are reserved, used at both ends, and given back: no memory is charged for the rest.
#include "report.h"
#include <sys/mman.h>

#define SIZE (8ul << 30)

int main(void)
{
	char *none = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(none != MAP_FAILED);
	ERR(mprotect(none, 65536, PROT_READ | PROT_WRITE));
	ERR(mprotect(none + SIZE - 65536, 65536, PROT_READ | PROT_WRITE));
	none[0] = 1;
	none[SIZE - 1] = 2;
	VAL(none[0] + none[SIZE - 1]);
	ERR(munmap(none, SIZE));
	char *used = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(used != MAP_FAILED);
	for (unsigned long at = 0; at < SIZE; at += SIZE / 16)
		used[at] = 1;
	VAL(used[SIZE / 2]);
	VAL(used[SIZE / 2 + 4096]);
	ERR(munmap(used, SIZE));
	DONE();
}
