// mprotect takes effect on single pages; what it forbids is SIGSEGV with SEGV_ACCERR at that address.
// variants: dynamic static-pie musl
#include "report.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static volatile char *fault_address;
static volatile int fault_code;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	fault_address = info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

static int faults(volatile char *at, int writing)
{
	if (sigsetjmp(back, 1) == 0) {
		if (writing)
			*at = 1;
		else
			(void)*at;
		return 0;
	}
	return fault_address == at ? fault_code : -1;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CASE("read only");
	ERR(mprotect(map + 4096, 4096, PROT_READ));
	VAL(faults(map + 4095, 1));
	VAL(faults(map + 4096, 0));
	VAL(faults(map + 4096, 1) == SEGV_ACCERR);
	VAL(faults(map + 8191, 1) == SEGV_ACCERR);
	VAL(faults(map + 8192, 1));
	CASE("none");
	ERR(mprotect(map + 4096, 8192, PROT_NONE));
	VAL(faults(map + 4096, 0) == SEGV_ACCERR);
	VAL(faults(map + 12287, 0) == SEGV_ACCERR);
	VAL(faults(map + 12288, 0));
	CASE("back again");
	ERR(mprotect(map, 16384, PROT_READ | PROT_WRITE));
	VAL(faults(map + 4096, 1));
	VAL(map[8191]);
	CASE("unmapped");
	munmap(map + 8192, 4096);
	VAL(faults(map + 8192, 0) == SEGV_MAPERR);
	CASE("errors");
	ERR(mprotect(map + 1, 4096, PROT_READ));
	ERR(mprotect(map, 12288, PROT_READ));
	ERR(mprotect(map, 0, PROT_READ));
	DONE();
}
