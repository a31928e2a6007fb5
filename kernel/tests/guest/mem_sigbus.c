// A file mapping beyond the file's end is SIGBUS with BUS_ADRERR, also after the file was cut under it.
#include "report.h"
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static volatile int seen_signal, seen_code;
static void *volatile seen_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	seen_signal = number;
	seen_code = info->si_code;
	seen_address = info->si_addr;
	siglongjmp(back, 1);
}

static void touch(volatile char *at)
{
	if (sigsetjmp(back, 1) == 0)
		SAY("read %d", *at);
	else
		SAY("%s adrerr %d at %d", signal_name(seen_signal), seen_code == BUS_ADRERR, seen_address == at);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	int fd = NEED(open("/tmp/file", O_RDWR | O_CREAT, 0600));
	NEED(ftruncate(fd, 5000));
	char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	touch(map + 4999);
	touch(map + 8191);
	touch(map + 8192);
	touch(map + 12288 + 17);
	CASE("grown");
	NEED(ftruncate(fd, 12288));
	touch(map + 8192);
	touch(map + 12288);
	CASE("cut");
	map[4096] = 1;
	NEED(ftruncate(fd, 4096));
	touch(map + 4095);
	touch(map + 4096);
	DONE();
}
