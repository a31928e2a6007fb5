// malloc, realloc and free in many sizes keep their contents: heap, large maps and their growth together.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdint.h>
#include <stdlib.h>

#define SLOTS 400

int main(void)
{
	static unsigned char *slot[SLOTS];
	static size_t size[SLOTS];
	uint32_t random = 1;
	int wrong = 0;

	for (int step = 0; step < 20000; step++) {
		random = random * 1664525 + 1013904223;
		int at = (random >> 8) % SLOTS;
		size_t wanted = (random >> 16) % 97 == 0 ? 200000 + (random >> 12) % 300000 : (random >> 16) % 3000;
		if (slot[at]) {
			if (size[at] && (slot[at][0] != (unsigned char)at || slot[at][size[at] - 1] != (unsigned char)at))
				wrong++;
			if (random & 0x80) {
				free(slot[at]);
				slot[at] = NULL;
				continue;
			}
		}
		size_t kept = slot[at] && size[at] < wanted ? size[at] : slot[at] ? wanted : 0;
		slot[at] = realloc(slot[at], wanted ? wanted : 1);
		if (!slot[at])
			return 2;
		for (size_t i = 0; i < kept; i += 511)
			wrong += slot[at][i] != (unsigned char)at;
		memset(slot[at], at, wanted);
		size[at] = wanted;
	}
	VAL(wrong);
	DONE();
}
