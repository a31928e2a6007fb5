// Code runs from a page made executable after it was written, and not from one that is not.
#include "report.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static void *volatile fault_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	fault_address = info->si_addr;
	siglongjmp(back, info->si_code);
}

int main(void)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(map, code, sizeof(code));
	int (*function)(void) = (int (*)(void))map;
	int how = sigsetjmp(back, 1);
	if (how == 0)
		VAL(function());
	else
		SAY("no execution: accerr %d, at the code %d", how == SEGV_ACCERR, fault_address == map);
	ERR(mprotect(map, 4096, PROT_READ | PROT_EXEC));
	VAL(function());
	ERR(mprotect(map, 4096, PROT_READ | PROT_WRITE));
	map[1] = 43;
	ERR(mprotect(map, 4096, PROT_READ | PROT_EXEC));
	VAL(function());
	DONE();
}
