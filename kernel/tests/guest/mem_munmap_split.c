// munmap in the middle of a mapping leaves both ends; unmapping across several mappings and holes is one call.
#include "report.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;

static void on_fault(int number)
{
	siglongjmp(back, number);
}

static int readable(volatile char *at)
{
	if (sigsetjmp(back, 1))
		return 0;
	(void)*at;
	return 1;
}

int main(void)
{
	signal(SIGSEGV, on_fault);
	char *map = mmap(NULL, 9 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int page = 0; page < 9; page++)
		map[page * 4096] = page + 1;
	ERR(munmap(map + 3 * 4096, 3 * 4096));
	for (int page = 0; page < 9; page++)
		SAY("page %d: %d", page, readable(map + page * 4096) ? map[page * 4096] : -1);
	CASE("across holes");
	ERR(munmap(map + 4096, 7 * 4096));
	for (int page = 0; page < 9; page++)
		SAY("page %d: %d", page, readable(map + page * 4096) ? map[page * 4096] : -1);
	DONE();
}
