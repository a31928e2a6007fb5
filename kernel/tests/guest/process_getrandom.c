// getrandom fills what it is asked for, differently each time; flags are checked.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/random.h>

int main(void)
{
	unsigned char one[256] = { 0 }, two[256] = { 0 };
	static unsigned char large[100000];
	VAL(getrandom(one, sizeof(one), 0));
	VAL(getrandom(two, sizeof(two), GRND_NONBLOCK));
	CHECK(memcmp(one, two, sizeof(one)) != 0);
	VAL(getrandom(large, sizeof(large), 0));
	int bits = 0;
	for (unsigned i = 0; i < sizeof(large); i++)
		bits += __builtin_popcount(large[i]);
	CHECK(bits > 390000 && bits < 410000);
	VAL(getrandom(one, 0, 0));
	VAL(getrandom(one, 16, GRND_RANDOM));
	ERR(getrandom(one, 16, 0x80));
	DONE();
}
