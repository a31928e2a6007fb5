// Parent and child have memory of their own after fork: heap, stack, private maps; shared maps stay shared.
// variants: dynamic static-pie fixed
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(void)
{
	int local = 1, status;
	char *heap = malloc(1 << 20);
	memset(heap, 1, 1 << 20);
	int *private = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	private[100] = 1;
	pid_t child = NEED(fork());
	if (child == 0) {
		CHECK(heap[500000] == 1 && private[100] == 1 && local == 1);
		memset(heap, 2, 1 << 20);
		local = 2;
		private[100] = 2;
		shared[0] = 2;
		while (shared[1] != 1)
			usleep(1000);
		CHECK(heap[500000] == 2 && private[100] == 2 && local == 2);
		_exit(0);
	}
	while (shared[0] != 2)
		usleep(1000);
	SAY("parent: heap %d private %d local %d", heap[500000], private[100], local);
	memset(heap, 3, 1 << 20);
	private[100] = 3;
	shared[1] = 1;
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	SAY("parent: heap %d private %d", heap[500000], private[100]);
	DONE();
}
