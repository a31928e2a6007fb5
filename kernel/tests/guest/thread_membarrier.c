// membarrier: the expedited commands want the process to have registered.
// variants: dynamic static-pie musl
#include "report.h"
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long membarrier(int command, int flags)
{
	return syscall(SYS_membarrier, command, flags, 0);
}

int main(void)
{
	long known = NEED(membarrier(MEMBARRIER_CMD_QUERY, 0));
	CHECK(known & MEMBARRIER_CMD_GLOBAL);
	CHECK(known & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	ERR(membarrier(MEMBARRIER_CMD_GLOBAL, 0));
	ERR(membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0));
	ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	ERR(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0));
	ERR(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	ERR(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	ERR(membarrier(MEMBARRIER_CMD_QUERY, 64));
	ERR(membarrier(1 << 30, 0));
	ERR(membarrier(3, 0));
	CASE("a child inherits the registration with the memory");
	pid_t child = NEED(fork());
	if (child == 0) {
		ERR(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
		_exit(0);
	}
	CHECK(waitpid(child, NULL, 0) == child);
	DONE();
}
