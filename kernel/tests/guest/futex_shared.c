// Futexes in shared memory are known by what is mapped: two addresses of one page are one futex.
#include "report.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int *one, *two;
static volatile int waiting, woken;

static void *waiter(void *unused)
{
	waiting = 1;
	if (syscall(SYS_futex, one, FUTEX_WAIT, 0, NULL, NULL, 0) == 0)
		woken = 1;
	return unused;
}

int main(void)
{
	pthread_t thread;
	int fd = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	NEED(ftruncate(fd, 4096));
	one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(one != two);
	pthread_create(&thread, NULL, waiter, NULL);
	while (!waiting)
		usleep(500);
	usleep(50000);
	VAL(syscall(SYS_futex, two + 1, FUTEX_WAKE, 10, NULL, NULL, 0));
	VAL(syscall(SYS_futex, two, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
	VAL(syscall(SYS_futex, two, FUTEX_WAKE, 10, NULL, NULL, 0));
	pthread_join(thread, NULL);
	VAL(woken);
	DONE();
}
