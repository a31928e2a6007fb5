// madvise(2) and fork(2): MADV_WIPEONFORK gives the child zeros, MADV_DONTFORK nothing; the parent keeps both, and the
// opposite advice takes them back.
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096

static unsigned char resident[8];

static char *map(int pages, int flags)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		exit(99);
	memset(at, 'x', pages * PAGE);
	return at;
}

static void in_child(const char *title, char *wiped, char *absent)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		SAY("%s: child sees %d %d %d %d", title, wiped[0], wiped[PAGE], wiped[2 * PAGE], wiped[3 * PAGE]);
		SAY("%s: child asks for the absent pages", title);
		ERR(mincore(absent, PAGE, resident));
		ERR(mincore(absent + PAGE, PAGE, resident));
		ERR(write(1, absent + PAGE, 0));
		wiped[PAGE] = 'c';
		// The advice is inherited.
		pid_t grandchild = fork();
		if (grandchild == 0) {
			SAY("%s: grandchild sees %d %d", title, wiped[0], wiped[PAGE]);
			_exit(0);
		}
		waitpid(grandchild, NULL, 0);
		SAY("%s: child still sees %d", title, wiped[PAGE]);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	SAY("%s: parent sees %d %d %d, %d %d", title, wiped[0], wiped[PAGE], wiped[3 * PAGE], absent[0], absent[PAGE]);
}

static void try(const char *title, int ballast)
{
	char *heavy = ballast ? map(ballast, MAP_PRIVATE) : NULL;
	char *wiped = map(4, MAP_PRIVATE), *absent = map(4, MAP_PRIVATE);

	ERR(madvise(wiped + PAGE, 2 * PAGE, MADV_WIPEONFORK));
	ERR(madvise(absent + PAGE, PAGE, MADV_DONTFORK));
	in_child(title, wiped, absent);
	// Again, with contents of the parent's own.
	memset(wiped, 'y', 4 * PAGE);
	memset(absent, 'z', 4 * PAGE);
	in_child(title, wiped, absent);
	ERR(madvise(wiped, 4 * PAGE, MADV_KEEPONFORK));
	ERR(madvise(absent, 4 * PAGE, MADV_DOFORK));
	in_child(title, wiped, absent);
	if (heavy)
		munmap(heavy, ballast * PAGE);
}

int main(void)
{
	try("small", 0);
	try("large", 2048);
	char *shared = map(1, MAP_SHARED), *own = map(3, MAP_PRIVATE);
	ERR(madvise(shared, PAGE, MADV_WIPEONFORK));
	ERR(madvise(shared, PAGE, MADV_DONTFORK));
	munmap(own + PAGE, PAGE);
	ERR(madvise(own, 3 * PAGE, MADV_WIPEONFORK));
	ERR(madvise(own, 3 * PAGE, MADV_DONTFORK));
	DONE();
}
