// Shared anonymous memory is an object of its own: it is the same memory wherever relatives have it mapped, and what one
// maps in its place is that one's alone.
// variants: dynamic static-pie fixed
#include "report.h"
#include <linux/futex.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static sigjmp_buf out;
static int number, code;

static void on_fault(int n, siginfo_t *info, void *context)
{
	(void)context;
	number = n;
	code = info->si_code;
	siglongjmp(out, 1);
}

static int *shared(size_t length)
{
	int *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(at != MAP_FAILED);
	return at;
}

static void until(volatile int *word, int value)
{
	while (*word != value)
		usleep(1000);
}

static void touch(volatile int *word)
{
	number = code = 0;
	if (sigsetjmp(out, 1) == 0)
		*word = 1;
	SAY("%s %d", signal_name(number), code);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);

	CASE("moved by the child");
	int *m = shared(3 * 4096);
	m[0] = 1;
	m[2048] = 5;
	pid_t child = fork();
	if (child == 0) {
		int *moved = mremap(m, 3 * 4096, 3 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		CHECK(moved != m && moved != MAP_FAILED);
		VAL(moved[2048]);
		int *mine = mmap(m, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		CHECK(mine == m);
		mine[1] = 77;
		moved[0] = 2;
		until(moved, 3);
		VAL(moved[1]);
		VAL(mine[1]);
		VAL(mine[2048]);
		// A futex is known by the memory, not by the address.
		moved[0] = 4;
		while (syscall(SYS_futex, moved + 3, FUTEX_WAKE, 1, NULL, NULL, 0) != 1)
			usleep(1000);
		_exit(0);
	}
	until(m, 2);
	VAL(m[1]);
	m[1] = 9;
	m[0] = 3;
	until(m, 4);
	VAL(syscall(SYS_futex, m + 3, FUTEX_WAIT, 0, NULL, NULL, 0));
	int status;
	waitpid(child, &status, 0);
	VAL(status);

	CASE("unmapped by the parent, kept by the child, and new memory there");
	child = fork();
	if (child == 0) {
		usleep(30000);
		VAL(m[1]);
		m[1] = 10;
		munmap(m, 4096);
		touch(m);
		_exit(0);
	}
	munmap(m, 3 * 4096);
	int *fresh = mmap(m, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(fresh == m);
	VAL(fresh[1]);
	fresh[1] = 4;
	waitpid(child, &status, 0);
	VAL(fresh[1]);

	CASE("mapped a second time by mremap");
	int *again = mremap(fresh, 0, 3 * 4096, MREMAP_MAYMOVE);
	CHECK(again != MAP_FAILED && again != fresh);
	VAL(again[1]);
	again[1] = 5;
	VAL(fresh[1]);
	munmap(fresh, 3 * 4096);
	VAL(again[1]);
	char *private = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ERR(mremap(private, 0, 4096, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);

	CASE("beyond the object");
	int *longer = mremap(again, 3 * 4096, 5 * 4096, MREMAP_MAYMOVE);
	CHECK(longer != MAP_FAILED);
	VAL(longer[1]);
	touch(longer + 2 * 1024);
	touch(longer + 3 * 1024);
	int *tail = mremap(longer, 5 * 4096, 4096, 0);
	CHECK(tail == longer);
	touch(longer + 1024);

	CASE("access of one's own");
	m = shared(8192);
	m[0] = 1;
	child = fork();
	if (child == 0) {
		mprotect(m, 8192, PROT_READ);
		touch(m);
		VAL(m[0]);
		mprotect(m, 8192, PROT_NONE);
		touch(m + 1024);
		usleep(20000);
		mprotect(m, 8192, PROT_READ | PROT_WRITE);
		VAL(m[1]);
		m[1024] = 6;
		_exit(0);
	}
	usleep(10000);
	m[1] = 3;
	waitpid(child, &status, 0);
	VAL(m[0]);
	VAL(m[1024]);
	ERR(madvise(m, 8192, MADV_DONTNEED));
	VAL(m[1]);
	ERR(madvise(m, 4096, MADV_REMOVE));
	VAL(m[1]);
	VAL(m[1024]);
	m[1] = 8;
	VAL(m[1]);

	CASE("grandchildren, and a process that has forgotten");
	m = shared(1 << 20);
	m[0] = 0;
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			for (int j = 0; j < 3; j++)
				if (fork() == 0) {
					__atomic_add_fetch(m + 1000 * (3 * i + j), 1 + i * j, __ATOMIC_SEQ_CST);
					_exit(0);
				}
			while (wait(NULL) > 0)
				;
			munmap(m, 1 << 20);
			touch(m);
			_exit(0);
		} else {
			wait(NULL);
		}
	int sum = 0;
	for (int i = 0; i < 9; i++)
		sum += m[1000 * i];
	VAL(sum);
	ERR(mmap(NULL, 1UL << 46, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
	DONE();
}
