// Relatives that map private memory, shared memory and nothing over each other's addresses, by turns: each finds its own.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MUST(relation) do { if (!(relation)) { SAY("%s line %d: %s", __func__, __LINE__, #relation); _exit(1); } } while (0)

enum { PAGES = 64, WORDS = 1024, STEPS = 1500, CHILDREN = 3 };
enum kind { NOTHING, PRIVATE, SHARED, COMMON };

static unsigned seed;
static enum kind kinds[PAGES];
static int values[PAGES];
static int (*region)[WORDS];
static int *common;

static unsigned dice(unsigned sides)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % sides;
}

static void check(int page)
{
	if (kinds[page] == NOTHING)
		return;
	if (kinds[page] == COMMON) {
		MUST(region[page][1] == 77);
		return;
	}
	MUST(region[page][5] == values[page]);
	MUST(region[page][1000] == (values[page] ? values[page] + 1 : 0));
}

static void change(int page)
{
	if (kinds[page] != PRIVATE && kinds[page] != SHARED)
		return;
	values[page] = 1 + (int)dice(100000);
	region[page][5] = values[page];
	region[page][1000] = values[page] + 1;
}

static void map(int from, int count)
{
	enum kind kind = (enum kind)dice(4);
	size_t length = (size_t)count * 4096;
	int fixed = MAP_FIXED | MAP_ANONYMOUS;
	int access = PROT_READ | PROT_WRITE;
	if (kind == NOTHING) {
		MUST(munmap(region[from], length) == 0);
	} else if (kind == COMMON) {
		count = 1;
		MUST(mremap(common, 0, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, region[from]) == region[from]);
	} else {
		fixed |= kind == SHARED ? MAP_SHARED : MAP_PRIVATE;
		MUST(mmap(region[from], length, access, fixed, -1, 0) == region[from]);
	}
	for (int i = from; i < from + count; i++) {
		kinds[i] = kind;
		values[i] = 0;
	}
}

static void work(unsigned own_seed)
{
	seed = own_seed;
	for (int step = 0; step < STEPS; step++) {
		int page = (int)dice(PAGES);
		switch (dice(6)) {
		case 0: {
			int count = 1 + (int)dice(8);
			map(page, page + count > PAGES ? PAGES - page : count);
			break;
		}
		case 1:
			sched_yield();
			break;
		case 2:
		case 3:
			change(page);
			break;
		case 4:
			if (kinds[page] == PRIVATE || kinds[page] == SHARED) {
				MUST(mprotect(region[page], 4096, PROT_READ) == 0);
				check(page);
				sched_yield();
				check(page);
				MUST(mprotect(region[page], 4096, PROT_READ | PROT_WRITE) == 0);
			}
			break;
		default:
			check(page);
		}
	}
	for (int page = 0; page < PAGES; page++)
		check(page);
}

static void family(size_t ballast)
{
	char *large = mmap(NULL, ballast, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(large != MAP_FAILED);
	memset(large, 1, ballast);
	// Nothing shared at the fork, so that what each changes afterwards is its own.
	MUST(mmap(region, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == region);
	for (int i = 0; i < PAGES; i++) {
		kinds[i] = PRIVATE;
		values[i] = 0;
		if (i % 3 == 0)
			change(i);
	}
	for (int i = 0; i < CHILDREN; i++) {
		pid_t child = fork();
		MUST(child >= 0);
		if (child == 0) {
			work(100 + (unsigned)i);
			MUST(large[ballast / 2] == 1);
			_exit(7);
		}
	}
	work(50);
	for (int i = 0; i < CHILDREN; i++) {
		int status;
		MUST(wait(&status) > 0);
		VAL(WEXITSTATUS(status));
	}
	work(51);
	munmap(large, ballast);
}

int main(void)
{
	region = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	common = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST((void *)region != MAP_FAILED && common != MAP_FAILED);
	common[1] = 77;
	CASE("copied at once");
	family(4096);
	CASE("write-protected");
	family(4 << 20);
	DONE();
}
