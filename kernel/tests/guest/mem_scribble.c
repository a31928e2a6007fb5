// Processes that write over their own memory and then make system calls with whatever they have: each may die, the
// machine and the neighbours go on.
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static unsigned long state = 88172645463325252UL;

static unsigned long random_word(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static char own[65536];

static unsigned long wild(void)
{
	static const unsigned long fixed[] = { 0, 1, 8, 4095, 4096, -1UL, -4096UL, 1UL << 47, (1UL << 47) - 1, 1UL << 63, 0xffffffff, 0x7fffffff };
	unsigned long r = random_word();
	switch (r % 5) {
	case 0: return fixed[r / 5 % (sizeof fixed / sizeof *fixed)];
	case 1: return (unsigned long)own + r / 5 % sizeof own;
	case 2: return (unsigned long)&r - r / 5 % 8192;
	case 3: return r;
	default: return r / 5 % 64;
	}
}

// Calls that take pointers and structures, and none that end, stop or wait for anything.
static const int calls[] = {
	SYS_stat, SYS_fstat, SYS_mprotect, SYS_rt_sigprocmask, SYS_pread64, SYS_pwrite64, SYS_access, SYS_pipe, SYS_mincore,
	SYS_madvise, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semctl, SYS_msgget, SYS_msgctl, SYS_getitimer,
	SYS_socketpair, SYS_setsockopt, SYS_getsockopt, SYS_uname, SYS_getcwd, SYS_readlink, SYS_getrlimit, SYS_getrusage,
	SYS_sysinfo, SYS_times, SYS_getgroups, SYS_rt_sigpending, SYS_sigaltstack, SYS_statfs, SYS_arch_prctl, SYS_mremap,
	SYS_sched_getaffinity, SYS_set_robust_list, SYS_get_robust_list, SYS_timer_create, SYS_clock_gettime, SYS_epoll_ctl,
	SYS_mq_open, SYS_mq_getsetattr, SYS_mq_notify, SYS_openat, SYS_getdents64, SYS_utimensat, SYS_preadv, SYS_prlimit64,
	SYS_getcpu, SYS_memfd_create, SYS_statx, SYS_rt_sigaction, SYS_process_vm_readv, SYS_sched_setattr, SYS_writev,
	SYS_munmap, SYS_brk, SYS_msync, SYS_mlock, SYS_futex_waitv,
};

static void scribble(int kind, unsigned long seed)
{
	state += seed * 0x9e3779b97f4a7c15UL;
	alarm(2);
	int fds[2];
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	if (kind == 0)
		for (unsigned i = 0; i < sizeof own; i += 8)
			*(unsigned long *)(own + i) = wild();
	for (int i = 0; i < 400; i++) {
		int nr = calls[random_word() % (sizeof calls / sizeof *calls)];
		if (kind == 1 && i % 50 == 49) // a piece of the data segment
			*(unsigned long *)(own + random_word() % (sizeof own - 8)) = wild();
		syscall(nr, wild(), wild(), wild(), wild(), wild(), wild());
	}
	if (kind == 2) // its whole stack, from here up
		for (char *p = (char *)fds;; p += 8)
			*(unsigned long *)p = wild();
	_exit(0);
}

int main(void)
{
	int *neighbour = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*neighbour = 7;
	int ended = 0;
	for (int i = 0; i < 24; i++) {
		pid_t child = fork();
		if (child == 0)
			scribble(i % 3, i);
		int status;
		waitpid(child, &status, 0);
		ended++;
	}
	VAL(ended);
	VAL(*neighbour);
	SAY("the neighbour goes on");
	DONE();
}
