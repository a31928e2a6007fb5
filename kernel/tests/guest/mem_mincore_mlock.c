// mincore sees touched pages, mlock and munlock are taken for root, both refuse unmapped memory.
#include "report.h"
#include <sys/mman.h>

int main(void)
{
	unsigned char vector[4] = { 0 };
	char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(map, 1, 4 * 4096);
	ERR(mincore(map, 4 * 4096, vector));
	SAY("%d %d %d %d", vector[0] & 1, vector[1] & 1, vector[2] & 1, vector[3] & 1);
	ERR(mincore(map + 1, 4096, vector));
	ERR(mlock(map, 8192));
	ERR(munlock(map, 8192));
	munmap(map + 4096, 4096);
	ERR(mincore(map, 8192, vector));
	ERR(mlock(map, 8192));
	DONE();
}
