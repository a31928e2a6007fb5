// mremap shrinks in place, grows, moves with its contents, and refuses what is not one mapping.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/mman.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

int main(void)
{
	char *map = mmap(NULL, 16 * 4096, RW, ANON, -1, 0);
	memset(map, 3, 16 * 4096);

	CASE("shrink");
	CHECK(mremap(map, 16 * 4096, 4 * 4096, 0) == map);
	ERR(munmap(map + 4 * 4096, 12 * 4096));
	CASE("grow where there is room");
	CHECK(mremap(map, 4 * 4096, 8 * 4096, 0) == map);
	VAL(map[4 * 4096 - 1]);
	VAL(map[4 * 4096]);
	CASE("no room, may not move");
	char *wall = mmap(map + 8 * 4096, 4096, RW, ANON | MAP_FIXED, -1, 0);
	CHECK(wall == map + 8 * 4096);
	ERR(mprotect(wall, 4096, PROT_READ));
	ERR(mremap(map, 8 * 4096, 16 * 4096, 0));
	CASE("no room, may move");
	char *moved = mremap(map, 8 * 4096, 300 * 4096, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED && moved != map);
	VAL(moved[0]);
	VAL(moved[4 * 4096]);
	VAL(moved[300 * 4096 - 1]);
	ERR(mremap(map, 4096, 8192, MREMAP_MAYMOVE));
	CASE("fixed");
	char *place = mmap(NULL, 8 * 4096, RW, ANON, -1, 0);
	memset(place, 9, 8 * 4096);
	CHECK(mremap(moved, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place + 4096) == place + 4096);
	VAL(place[4095]);
	VAL(place[4096]);
	VAL(place[8192]);
	ERR(mremap(place, 4096, 8192, MREMAP_FIXED, place + 8192));
	ERR(mremap(place, 4096, 0, MREMAP_MAYMOVE));
	ERR(mremap(place + 1, 4096, 8192, MREMAP_MAYMOVE));
	DONE();
}
