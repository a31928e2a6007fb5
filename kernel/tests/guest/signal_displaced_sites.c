// Signals at and around calls whose number comes from elsewhere than the instruction in front: where the handler sees the
// context, that it goes on there, and that it can send it to any instruction in front of the call.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#define SHAPE(name, body)                                                                                               \
	asm(".balign 16\n.globl " #name "\n.hidden " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n\t" body \
	    "\n.globl " #name "_end\n.hidden " #name "_end\n" #name "_end:\n.cfi_endproc\n.size " #name ", .-" #name "\n");     \
	extern char name##_end[];                                                                                       \
	long name(long, long, long, long)

// read(rdi, rsi, rdx) in room of two bytes, of one long instruction, and of several.
SHAPE(read_punned, "jmp 1f\n1:\txor %eax, %eax\n\tsyscall\nread_punned_back:\tcmp $-4096, %rax\n\tret");
SHAPE(read_long, "movabs $0, %rax\n\tsyscall\nread_long_back:\tret");
SHAPE(read_several, "mov %ecx, %r8d\n\txor %eax, %eax\n\tsyscall\nread_several_back:\tret");
asm(".pushsection .data\n.balign 8\n.globl backs\n.hidden backs\nbacks: .quad read_punned_back, read_long_back, read_several_back\n.popsection");
extern char *backs[3] __attribute__((visibility("hidden")));

// getppid, over and over, with the flag `busy` set while there is no other way out of the range than a signal.
asm(".pushsection .bss\n.globl busy\n.hidden busy\nbusy: .zero 8\n.popsection");
extern volatile long busy;
SHAPE(loop_several, "mov %rdi, %r9\n\tmov $110, %r10d\n\tmovq $1, busy(%rip)\n1:\tmov %r10d, %edx\n\tinc %r8\n\tmov %edx, %eax\n\tsyscall\n\t"
		    "dec %r9\n\tjnz 1b\n\tmovq $0, busy(%rip)\n\tmov %r8, %rax\n\tret");
SHAPE(loop_long, "mov %rdi, %r9\n\tmov $110, %r10d\n\tmovq $1, busy(%rip)\n1:\tmov %r10d, %eax\n\tadd $1, %r8\n\tmovq $5, -16(%rsp)\n\tsyscall\n\t"
		 "dec %r9\n\tjnz 1b\n\tmovq $0, busy(%rip)\n\tmov %r8, %rax\n\tret");
SHAPE(getppid_several, "mov %edi, %eax\n\tmov %edi, %edx\n\tinc %esi\n\tsyscall\n\tret");

static int pipes[2];
static volatile long at_back, at_call, inside, outside, total;
static char *volatile back;

static void on_blocked(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signo, (void)info;
	at_back += (char *)r[REG_RIP] == back && r[REG_RAX] == -EINTR;
	at_call += (char *)r[REG_RIP] == back - 2 && r[REG_RAX] == 0;
	if (at_back + at_call == 3) {
		struct itimerval off = { { 0, 0 }, { 0, 0 } };
		setitimer(ITIMER_REAL, &off, NULL);
		(void)!write(pipes[1], "x", 1);
	}
}

static void on_loop(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	char *rip = (char *)r[REG_RIP];
	(void)signo, (void)info;
	if (!busy)
		return;
	int in_loop = (rip >= (char *)loop_several && rip < loop_several_end) || (rip >= (char *)loop_long && rip < loop_long_end);
	total++;
	inside += in_loop;
	outside += !in_loop;
}

static volatile long offset = 2, sent;

static void on_trap(int signo, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signo, (void)info;
	sent++;
	r[REG_RAX] = 110;
	r[REG_RIP] = (greg_t)getppid_several + offset;
}

static void handle(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	sigaction(signo, &action, NULL);
}

static void blocked(const char *name, long (*shape)(long, long, long, long), char *return_address, int flags)
{
	char byte = 0;
	long result;
	for (int i = 0; i < 200; i++)
		shape(-1, (long)&byte, 1, 0);
	back = return_address;
	at_back = at_call = 0;
	handle(SIGALRM, on_blocked, flags);
	struct itimerval timer = { { 0, 3000 }, { 0, 3000 } };
	setitimer(ITIMER_REAL, &timer, NULL);
	int interrupted = 0;
	while ((result = shape(pipes[0], (long)&byte, 1, 0)) == -EINTR)
		interrupted++;
	SAY("%s%s: %ld", name, flags ? " restarted" : "", result);
	CHECK(flags ? at_call == 3 && interrupted == 0 : at_back == 3 && at_call == 0 && interrupted == 3);
}

static void flood(const char *name, long (*shape)(long, long, long, long))
{
	total = inside = outside = 0;
	handle(SIGALRM, on_loop, SA_RESTART);
	struct itimerval timer = { { 0, 100 }, { 0, 100 } }, off = { { 0, 0 }, { 0, 0 } };
	long rounds = 0, counted = 0;
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	setitimer(ITIMER_REAL, &timer, NULL);
	do {
		register long r8 asm("r8") = 0;
		asm volatile("sub $256, %%rsp\n\tcall *%[shape]\n\tadd $256, %%rsp" : "+r"(r8), "=a"(counted)
			     : [shape] "b"(shape), "D"(1000)
			     : "rcx", "rdx", "rsi", "r9", "r10", "r11", "memory", "cc");
		rounds += counted == 1000;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (counted == 1000 && (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 300);
	setitimer(ITIMER_REAL, &off, NULL);
	SAY("%s", name);
	CHECK(counted == 1000 && rounds > 0);
	CHECK(total > 10);
	CHECK(outside == 0 && inside == total);
}

int main(void)
{
	(void)!pipe(pipes);
	blocked("two bytes", read_punned, backs[0], 0);
	blocked("two bytes", read_punned, backs[0], SA_RESTART);
	blocked("long", read_long, backs[1], 0);
	blocked("long", read_long, backs[1], SA_RESTART);
	blocked("several", read_several, backs[2], 0);
	blocked("several", read_several, backs[2], SA_RESTART);
	flood("several, flooded", loop_several);
	flood("long, flooded", loop_long);

	long parent = getppid();
	int right = 0;
	for (int i = 0; i < 200; i++)
		right += getppid_several(110, 0, 0, 0) == parent;
	VAL(right);
	handle(SIGTRAP, on_trap, 0);
	right = 0;
	for (offset = 0; offset <= 6; offset += 2) {
		long result, number = 110;
		asm volatile("sub $256, %%rsp\n\tcall 1f\n\tjmp 2f\n1:\tint3\n\tud2\n2:\tadd $256, %%rsp"
			     : "=a"(result), "+D"(number) : : "rcx", "rdx", "rsi", "r11", "memory", "cc");
		right += result == parent;
	}
	VAL(right);
	VAL(sent);
	DONE();
}
