// The program break grows, shrinks, and gives zeroed memory again after shrinking.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/syscall.h>
#include <stdint.h>

static uintptr_t set_break(uintptr_t to) { return syscall(SYS_brk, to); }

int main(void)
{
	uintptr_t start = set_break(0);
	CHECK(start != 0);
	CHECK(set_break(start + 100000) == start + 100000);
	char *heap = (char *)start;
	memset(heap, 0x55, 100000);
	CHECK(heap[99999] == 0x55);
	CHECK(set_break(start) == start);
	CHECK(set_break(start + 200000) == start + 200000);
	uintptr_t first_page = (start + 4095) & ~4095ul;
	int zeroes = 1;
	for (char *at = (char *)first_page; at < heap + 200000; at++)
		zeroes &= *at == 0;
	CHECK(zeroes);
	CHECK(set_break(1) == start + 200000);
	CHECK(set_break(start) == start);
	DONE();
}
