// Shared anonymous memory is one memory for a parent and its vfork-style child.
#include "report.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(void)
{
	int *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	VAL(shared[0]);
	shared[1] = 5;
	pid_t child = vfork();
	if (child == 0) {
		shared[0] = shared[1] + 1;
		_exit(0);
	}
	waitpid(child, NULL, 0);
	VAL(shared[0]);
	ERR(madvise(shared, 4096, MADV_DONTNEED));
	VAL(shared[0]);
	ERR(munmap(shared, 8192));
	DONE();
}
