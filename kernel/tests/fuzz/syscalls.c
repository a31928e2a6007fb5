// Random system calls: every number of the kernel's table and some that are in none, with arguments drawn from values
// that tend to hurt. Runs as process 1: `syscalls SEED SECONDS`. It starts rounds of three related processes, each of
// which makes some hundred calls, and kills what is left of them. It ends with status 42 when its time is over and the
// system still forks, maps memory and has its memory back; whatever else the machine does is a bug of the kernel.
//
// `calls.h` is made from the kernel's table by the test: numbers, names and the kinds of arguments.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

#define PAGE 4096ul
#define ARENA_PAGES 64
#define CALLS_PER_WORKER 250
#define WORKERS 3
#define ROUND_MILLISECONDS 400

enum { SUCCESS = 42, LEAK = 43, BROKEN = 44 };

static uint64_t state;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned limit)
{
	return (next() >> 33) % limit;
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

// ---------------------------------------------------------------- what arguments are drawn from

// Readable and writable pages, then one that is not there, one that is read-only and one without access.
static char *arena;
static int fds[64];
static unsigned fd_count;

static const uint64_t numbers[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 256, 511, 512, 1000,
	1023, 1024, 1025, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 1 << 24, 1 << 30,
	INT32_MAX - 1, INT32_MAX, 1ull << 31, UINT32_MAX - 1, UINT32_MAX, 1ull << 32, (1ull << 32) + 1, 1ull << 40, 1ull << 47,
	INT64_MAX - 4095, INT64_MAX - 1, INT64_MAX, 1ull << 63, (1ull << 63) + 1, -4096ull, -4095ull, -100ull, -2ull, -1ull,
	999999999, 1000000000, 1000000001, 0x7ffffffff000, 0x41414141,
};

static const uint64_t wild[] = {
	0, 1, 8, 4095, 4096, 0xfff8, 0x10000, 0x3ffffff8, 0x40000000, 0x7ffff000, 0x7ffffff8, 0x80000000, 0x555555554000,
	0x100000000000, 0xffffffffff8, 0xffffffff000, 0x110000000000, 0x10fffffffff8, 0x10fffffff000, 0x104000000000,
	0x100040000000, 0x7ffff7fff000, 0x7ffffffff000, 0x7fffffffeff8, 0x800000000000, 0xffff800000000000,
	0xffffffff80000000, 0xffffffffff600000, -4096ull, -4095ull, -8ull, -1ull,
};

static const char *const paths[] = {
	"a", "b", "d", "d/x", "s", "loop", "fifo", "sock", ".", "..", "/", "", "/tmp/w", "/tmp/w/d", "/proc", "/proc/self/maps",
	"/proc/self/fd", "/proc/self/mem", "/proc/self/fd/3", "/proc/1/status", "/proc/self/exe", "/proc/self/cmdline",
	"/proc/self/environ", "/proc/self/auxv", "/proc/self/stat", "/proc/meminfo", "/proc/mounts", "/proc/self/cwd/a",
	"/proc/self/task", "/proc/sys/kernel/hostname", "/proc/net/tcp", "/dev/null", "/dev/zero", "/dev/full",
	"/dev/urandom", "/dev/tty", "/dev/console", "/dev/shm/m", "/sys", "/fuzz", "/missing/x", "a/b", "tmpfs", "proc",
	"user.x", "security.y", "trusted.z", "system.posix_acl_access", "size=1m", "\xff\xfe", "a\nb",
};

static uint64_t number(void)
{
	switch (below(8)) {
	case 0:
		return next();
	case 1:
		return 1ull << below(64);
	case 2:
		return (1ull << below(32)) | (1ull << below(32));
	case 3:
		return next() & 0xff;
	case 4:
		return numbers[below(sizeof(numbers) / sizeof(numbers[0]))] + below(3) - 1;
	default:
		return numbers[below(sizeof(numbers) / sizeof(numbers[0]))];
	}
}

static uint64_t descriptor(void)
{
	if (chance(85))
		return fds[below(fd_count)];
	return chance(50) ? (uint64_t)AT_FDCWD : number();
}

static uint64_t inside(void)
{
	return (uint64_t)arena + below(ARENA_PAGES * PAGE / 8) * 8;
}

static uint64_t pointer(void)
{
	switch (below(16)) {
	case 0:
		return wild[below(sizeof(wild) / sizeof(wild[0]))];
	case 1:
		return (uint64_t)arena + ARENA_PAGES * PAGE - below(64); // up to the missing page
	case 2:
		return (uint64_t)arena + (ARENA_PAGES + 1) * PAGE + below(PAGE); // read-only
	case 3:
		return (uint64_t)arena + (ARENA_PAGES + 2) * PAGE + below(PAGE); // no access
	case 4:
		return inside() + below(8);
	case 5:
		return 0;
	case 6:
		return ((uint64_t)arena + below((ARENA_PAGES + 4) * PAGE)) & -PAGE;
	case 7:
		return chance(90) ? inside() : (uint64_t)&state ^ (next() & 0xffffff000);
	default:
		return inside();
	}
}

// Structures at a random place of the arena, filled with likely members: whatever call gets them.
static uint64_t structure(void)
{
	uint64_t *words = (uint64_t *)inside();
	unsigned count = 2 + below(24);

	if ((char *)(words + 40) > arena + ARENA_PAGES * PAGE)
		return (uint64_t)words;
	switch (below(8)) {
	case 0: { // sockaddr_in
		struct sockaddr_in address = { .sin_family = chance(95) ? AF_INET : number(), .sin_port = htons(4000 + below(4)) };
		address.sin_addr.s_addr = chance(70) ? htonl(INADDR_LOOPBACK) : (chance(50) ? 0 : next());
		memcpy(words, &address, sizeof address);
		return (uint64_t)words;
	}
	case 1: { // sockaddr_un
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		address.sun_path[0] = chance(50) ? 0 : 's';
		memcpy(address.sun_path + 1, "ock", 4);
		memcpy(words, &address, sizeof address);
		return (uint64_t)words;
	}
	case 2: // iovec, pollfd, epoll_event arrays: pairs of pointer and length
		for (unsigned i = 0; i < count; i++) {
			words[2 * (i % 16)] = pointer();
			words[2 * (i % 16) + 1] = chance(70) ? below(5000) : number();
		}
		return (uint64_t)words;
	case 3: // timespec, timeval, itimerspec: short
		words[0] = chance(50) ? 0 : number();
		words[1] = below(5000000);
		words[2] = 0;
		words[3] = chance(80) ? below(5000000) : number();
		return (uint64_t)words;
	case 4: { // msghdr
		struct msghdr *message = (struct msghdr *)words;
		uint64_t *control = words + 16;
		message->msg_name = chance(50) ? NULL : (void *)pointer();
		message->msg_namelen = chance(70) ? 16 : number();
		message->msg_iov = (struct iovec *)pointer();
		message->msg_iovlen = chance(80) ? below(4) : number();
		message->msg_control = chance(30) ? (void *)pointer() : control;
		message->msg_controllen = chance(80) ? 24 : number();
		message->msg_flags = 0;
		control[0] = chance(80) ? 20 : number();
		((uint32_t *)control)[2] = chance(90) ? SOL_SOCKET : number();
		((uint32_t *)control)[3] = chance(80) ? 1 + below(2) : number();
		((uint32_t *)control)[4] = descriptor();
		return (uint64_t)words;
	}
	case 5: // pollfd
		for (unsigned i = 0; i < count; i++) {
			((uint32_t *)words)[2 * i] = descriptor();
			((uint32_t *)words)[2 * i + 1] = next() & 0x3ffff;
		}
		return (uint64_t)words;
	case 6: // open_how, clone_args, sigevent, …: plain numbers
		for (unsigned i = 0; i < count; i++)
			words[i] = chance(50) ? 0 : (chance(50) ? number() : pointer());
		return (uint64_t)words;
	default:
		return (uint64_t)words;
	}
}

static uint64_t path(void)
{
	if (chance(10))
		return pointer();
	char *at = (char *)inside();
	const char *name = paths[below(sizeof(paths) / sizeof(paths[0]))];
	if (at + 64 > arena + ARENA_PAGES * PAGE)
		return (uint64_t)name;
	if (chance(3)) { // as long as it gets
		memset(at, 'x', arena + ARENA_PAGES * PAGE - at);
		if (chance(50))
			at[below(arena + ARENA_PAGES * PAGE - at)] = 0;
		return (uint64_t)at;
	}
	return (uint64_t)strcpy(at, name);
}

static uint64_t length(void)
{
	return chance(70) ? below(3 * PAGE) : number();
}

static uint64_t argument(enum kind kind)
{
	if (chance(12))
		kind = below(KINDS);
	switch (kind) {
	case KIND_FD:
		return descriptor();
	case KIND_PTR:
		return chance(50) ? structure() : pointer();
	case KIND_PATH:
		return path();
	case KIND_SIZE:
		return length();
	case KIND_SIGNAL:
		return below(70);
	case KIND_MODE:
		return chance(90) ? next() & 07777 : number();
	case KIND_OFLAGS:
		return O_NONBLOCK | (chance(80) ? next() & 0x7f7ff : number());
	case KIND_PROT:
		return chance(90) ? below(8) : number();
	case KIND_MAPFLAGS: {
		static const uint32_t kinds[] = { 0x02, 0x22, 0x21, 0x01, 0x32, 0x31, 0x12, 0x11, 0x100022, 0x62, 0x8022, 0x4022 };
		return chance(90) ? kinds[below(12)] : number();
	}
	default:
		return number();
	}
}

// ---------------------------------------------------------------- one call

// A child that comes out of fork(2) and its relatives inside the call leaves at once: it may share this very stack.
static long call(uint64_t nr, const uint64_t *a, bool may_return_twice)
{
	register uint64_t a3 __asm__("r10") = a[3];
	register uint64_t a4 __asm__("r8") = a[4];
	register uint64_t a5 __asm__("r9") = a[5];
	uint64_t result = nr;
	__asm__ volatile("syscall\n\t"
			 "test %[twice], %[twice]\n\t"
			 "jz 1f\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov $60, %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n\t"
			 "1:"
			 : "+a"(result)
			 : "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(a3), "r"(a4), "r"(a5), [twice] "b"((uint64_t)may_return_twice)
			 : "rcx", "r11", "memory");
	return result;
}

static bool returns_twice(uint64_t nr)
{
	return nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
}

// Calls that end the worker or the machine, or give back a frame that is not there.
static bool is_left_out(uint64_t nr)
{
	return nr == SYS_exit || nr == SYS_exit_group || nr == SYS_reboot || (nr == SYS_rt_sigreturn && !chance(2));
}

static void one_call(void)
{
	uint64_t arguments[6];
	const struct call *row = &calls[below(sizeof(calls) / sizeof(calls[0]))];
	uint64_t nr = row->number;

	for (unsigned i = 0; i < 6; i++)
		arguments[i] = i < row->count ? argument(row->kinds[i]) : number();
	if (chance(2))
		nr = chance(50) ? 470 + below(100) : number();
	if (is_left_out(nr) || is_left_out((uint32_t)nr))
		return;
	// Not everything is to die at once, nor the worker's own memory to go in its first calls.
	if ((nr == SYS_kill || nr == SYS_tkill || nr == SYS_tgkill) && chance(80))
		arguments[0] = getpid();
	if ((nr == SYS_munmap || nr == SYS_mprotect || nr == SYS_mmap || nr == SYS_mremap || nr == SYS_madvise) && chance(70)) {
		arguments[0] = ((uint64_t)arena + below((ARENA_PAGES + 4) * PAGE)) & -PAGE;
		arguments[1] = below(4) * PAGE;
	}
	long result = call(nr, arguments, returns_twice(nr));
	bool makes_descriptor = nr == SYS_open || nr == SYS_openat || nr == SYS_dup || nr == SYS_socket || nr == SYS_accept ||
				nr == SYS_accept4 || nr == SYS_memfd_create || nr == SYS_eventfd2 || nr == SYS_timerfd_create ||
				nr == SYS_signalfd4 || nr == SYS_pidfd_open || nr == SYS_epoll_create1;
	if (makes_descriptor && result >= 0)
		fds[below(fd_count)] = result;
}

// ---------------------------------------------------------------- a worker

static void note(int fd)
{
	if (fd >= 0 && fd_count < sizeof(fds) / sizeof(fds[0]))
		fds[fd_count++] = fd;
}

static void on_signal(int number)
{
	(void)number;
}

static int loopback_socket(int type, int port, bool listening)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), yes = 1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	bind(fd, (struct sockaddr *)&address, sizeof address);
	if (listening)
		listen(fd, 4);
	return fd;
}

static void open_one_of_each(void)
{
	static const char *const files[] = {
		"/proc/self/maps", "/proc/self/status", "/proc/meminfo", "/proc/net/tcp", "/proc/self/mem", "/dev/null",
		"/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty", "/fuzz",
	};
	int pair[2];
	sigset_t signals;

	fd_count = 0;
	note(open("a", O_RDWR | O_CREAT, 0644));
	note(open("b", O_RDWR | O_CREAT | O_APPEND, 0600));
	mkdir("d", 0755);
	symlink("a", "s");
	symlink("loop", "loop");
	mkfifo("fifo", 0644);
	note(open("fifo", O_RDWR | O_NONBLOCK));
	note(open(".", O_RDONLY | O_DIRECTORY));
	note(open("d", O_PATH));
	note(open("/", O_RDONLY | O_DIRECTORY));
	note(open("/proc", O_RDONLY | O_DIRECTORY));
	note(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(files[i], O_RDWR | O_NONBLOCK | O_NOCTTY);
		note(fd >= 0 ? fd : open(files[i], O_RDONLY | O_NONBLOCK | O_NOCTTY));
	}
	if (pipe2(pair, O_NONBLOCK) == 0) {
		note(pair[0]);
		note(pair[1]);
	}
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) == 0) {
			note(pair[0]);
			note(pair[1]);
		}
		note(socket(AF_UNIX, type | SOCK_NONBLOCK, 0));
		note(socket(AF_INET, type | SOCK_NONBLOCK, 0));
		note(socket(AF_INET6, type | SOCK_NONBLOCK, 0));
	}
	note(loopback_socket(SOCK_STREAM, 4000, true));
	note(loopback_socket(SOCK_DGRAM, 4001, false));
	note(epoll_create1(0));
	note(epoll_create1(0));
	note(eventfd(1, EFD_NONBLOCK));
	note(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	note(memfd_create("m", MFD_ALLOW_SEALING));
	sigfillset(&signals);
	note(signalfd(-1, &signals, SFD_NONBLOCK));
	note(syscall(SYS_pidfd_open, getpid(), 0));
	note(0);
}

static void work(uint64_t seed)
{
	struct itimerval tick = { { 0, 3000 }, { 0, 3000 } };
	struct sigaction action = { .sa_handler = on_signal };

	state = seed | 1;
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGPIPE, &action, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	for (unsigned i = 0; i < CALLS_PER_WORKER; i++)
		one_call();
	_exit(0);
}

static void lead(uint64_t seed)
{
	struct rlimit processes = { 40, 40 };

	state = seed | 1;
	setrlimit(RLIMIT_NPROC, &processes);
	arena = mmap(NULL, (ARENA_PAGES + 4) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		_exit(BROKEN);
	for (unsigned i = 0; i < ARENA_PAGES * PAGE / 8; i++)
		((uint64_t *)arena)[i] = chance(60) ? 0 : number();
	munmap(arena + ARENA_PAGES * PAGE, PAGE);
	mprotect(arena + (ARENA_PAGES + 1) * PAGE, PAGE, PROT_READ);
	mprotect(arena + (ARENA_PAGES + 2) * PAGE, PAGE, PROT_NONE);
	open_one_of_each();
	for (unsigned i = 1; i < WORKERS; i++)
		if (fork() == 0)
			work(seed * 31 + i);
	work(seed);
}

// ---------------------------------------------------------------- process 1

static uint64_t milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

// `fd` is /proc/meminfo, opened before any worker could unmount or cover /proc.
static long free_kilobytes(int fd)
{
	char text[512], *line;
	ssize_t length = pread(fd, text, sizeof text - 1, 0);
	if (length < 0)
		return -1;
	text[length] = 0;
	line = strstr(text, "MemFree:");
	return line ? atol(line + 8) : -1;
}

static bool fresh_directory(void)
{
	chdir("/");
	while (umount2("/tmp/w", MNT_DETACH) == 0)
		;
	mkdir("/tmp/w", 0777);
	return mount("tmpfs", "/tmp/w", "tmpfs", 0, "") == 0 && chdir("/tmp/w") == 0;
}

static void one_round(uint64_t seed)
{
	uint64_t end = milliseconds() + ROUND_MILLISECONDS;
	pid_t leader = fork();

	if (leader == 0)
		lead(seed);
	while (milliseconds() < end && waitpid(-1, NULL, WNOHANG) >= 0)
		usleep(1000);
	// Processes may be born while others are killed.
	do
		kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) >= 0 || errno == EINTR);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t end = milliseconds() + 1000ull * (argc > 2 ? strtoul(argv[2], NULL, 0) : 10);
	unsigned rounds = 0;
	long before = 0, after = 0;
	int meminfo;

	if (getpid() != 1)
		return 0; // a worker's execve
	meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	while (milliseconds() < end) {
		if (!fresh_directory()) {
			dprintf(1, "round %u: no fresh directory: %s\n", rounds, strerror(errno));
			return BROKEN;
		}
		one_round(seed * 1000003 + rounds);
		// The first rounds fill what the kernel keeps for ever.
		if (++rounds == 5)
			before = free_kilobytes(meminfo);
	}
	chdir("/");
	while (umount2("/tmp/w", MNT_DETACH) == 0)
		;
	after = free_kilobytes(meminfo);
	dprintf(1, "%u rounds, free memory %ld kB, then %ld kB\n", rounds, before, after);
	return rounds > 5 && after < before - 1024 ? LEAK : SUCCESS;
}
