// Guard pages as runtimes use them: stack overflow caught on an alternate stack, thread stacks, an overflow of the
// alternate stack itself, a heap that grows by faults.
#include "report.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static sigjmp_buf out;
static char *heap;
static volatile int grown;

static void on_overflow(int number, siginfo_t *info, void *context)
{
	(void)context;
	SAY("%s, code is MAPERR or ACCERR: %d", signal_name(number), info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR);
	siglongjmp(out, 1);
}

static void on_growth(int number, siginfo_t *info, void *context)
{
	char *page = (char *)((unsigned long)info->si_addr & ~4095UL);
	(void)number, (void)context;
	if (page < heap || page >= heap + 64 * 4096 || info->si_code != SEGV_ACCERR)
		_exit(3);
	grown++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static int deep(int depth)
{
	volatile char room[4096];
	room[0] = depth;
	return depth < 0 ? 0 : deep(depth + 1) + room[0];
}

static void alternate(size_t size)
{
	stack_t stack = { .ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = size };
	sigaltstack(&stack, NULL);
}

static void *threaded(void *unused)
{
	alternate(65536);
	if (sigsetjmp(out, 1) == 0)
		deep(0);
	SAY("the thread goes on");
	return unused;
}

static void deep_handler(int number)
{
	(void)number;
	deep(0);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct rlimit small = { 1 << 20, RLIM_INFINITY };
	pthread_t thread;
	pthread_attr_t attributes;
	int status;

	sigaction(SIGSEGV, &action, NULL);
	CASE("a thread's stack");
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	pthread_create(&thread, &attributes, threaded, NULL);
	pthread_join(thread, NULL);

	CASE("the main stack, twice");
	setrlimit(RLIMIT_STACK, &small);
	alternate(65536);
	for (int i = 0; i < 2; i++)
		if (sigsetjmp(out, 1) == 0)
			deep(0);

	CASE("without an alternate stack");
	pid_t child = fork();
	if (child == 0) {
		stack_t none = { .ss_flags = SS_DISABLE };
		sigaltstack(&none, NULL);
		deep(0);
		_exit(0);
	}
	waitpid(child, &status, 0);
	SAY("%s", WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : "exited");

	CASE("the alternate stack overflows");
	child = fork();
	if (child == 0) {
		char *low = mmap(NULL, 3 * 16384, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mprotect(low + 16384, 16384, PROT_READ | PROT_WRITE);
		stack_t stack = { .ss_sp = low + 16384, .ss_size = 16384 };
		sigaltstack(&stack, NULL);
		struct sigaction deeper = { .sa_handler = deep_handler, .sa_flags = SA_ONSTACK };
		sigaction(SIGUSR1, &deeper, NULL);
		sigaction(SIGSEGV, &deeper, NULL);
		raise(SIGUSR1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	SAY("%s", WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : "exited");

	CASE("an alternate stack that is not there");
	child = fork();
	if (child == 0) {
		stack_t stack = { .ss_sp = mmap(NULL, 16384, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = 16384 };
		sigaltstack(&stack, NULL);
		raise(SIGSEGV);
		_exit(0);
	}
	waitpid(child, &status, 0);
	SAY("%s", WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : "exited");

	CASE("a heap that grows by faults");
	heap = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	action.sa_sigaction = on_growth;
	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < 64 * 4096; i += 1000)
		heap[i] = i;
	VAL(grown);
	DONE();
}
