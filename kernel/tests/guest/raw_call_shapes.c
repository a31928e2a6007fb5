// System calls through instruction sequences of many shapes, each run more than once, give the same answers.
// variants: raw
#include "freestanding.h"

#define SHAPE(name, body) asm(".balign 16\n" #name ":\n\t" body "\n\tret\n"); long name(void) __attribute__((visibility("hidden")))

// getpid is 39, getppid 110; rdi is no argument of either.
SHAPE(mov_eax, "mov $39, %eax\n\tsyscall");
SHAPE(mov_rax, "mov $39, %rax\n\tsyscall");
SHAPE(movabs_rax, "movabs $39, %rax\n\tsyscall");
SHAPE(push_pop, "push $39\n\tpop %rax\n\tsyscall");
SHAPE(xor_then_byte, "xor %eax, %eax\n\tmov $39, %al\n\tsyscall");
SHAPE(by_lea, "xor %edi, %edi\n\tlea 39(%rdi), %eax\n\tsyscall");
SHAPE(computed, "mov $30, %eax\n\tadd $9, %eax\n\tsyscall");
SHAPE(with_nops, "mov $39, %eax\n\tnop\n\tnop\n\tnop\n\tsyscall\n\tnop");
SHAPE(after_another_load, "mov $39, %eax\n\tmov %rdi, %rsi\n\tsyscall");
SHAPE(two_in_a_row, "mov $110, %eax\n\tsyscall\n\tmov $39, %eax\n\tsyscall");
SHAPE(number_from_call, "mov $110, %eax\n\tsyscall\n\tmov $39, %eax\n\tjmp 1f\n\tud2\n1:\tsyscall");
SHAPE(back_to_back, "mov $100000, %eax\n\tsyscall\n\tsyscall\n\tmov $39, %eax\n\tsyscall");
SHAPE(flags_between, "mov $39, %eax\n\tsyscall\n\tjc 1f\n1:");
SHAPE(indirect_number, "mov number_word(%rip), %eax\n\tsyscall");
SHAPE(prefixed, "mov $39, %eax\n\t.byte 0x48\n\tsyscall");
SHAPE(conditional, "xor %edx, %edx\n\tmov $110, %eax\n\tmov $39, %ecx\n\ttest %edx, %edx\n\tcmovz %ecx, %eax\n\tsyscall");
SHAPE(at_the_end, "mov $39, %eax\n\tsyscall");
asm(".pushsection .data\nnumber_word: .long 39\n.popsection");

// One body, two ways in: at the start with its own number, in the middle with the caller's.
asm(".balign 16\nshared_body:\n\tmov $39, %eax\nshared_middle:\n\tsyscall\n\tret\n"
    "enter_middle:\n\tmov $110, %eax\n\tjmp shared_middle\n"
    "enter_middle_again:\n\tmov $39, %eax\n\tjmp shared_middle\n");
long shared_body(void) __attribute__((visibility("hidden")));
long enter_middle(void) __attribute__((visibility("hidden")));
long enter_middle_again(void) __attribute__((visibility("hidden")));

// A jump to a conditional branch's target that is the syscall instruction itself.
asm(".balign 16\nloop_body:\n\tmov $5, %r8d\n\tmov $39, %eax\n1:\tsyscall\n\tmov $39, %eax\n\tdec %r8d\n\tjnz 1b\n\tsyscall\n\tret\n");
long loop_body(void) __attribute__((visibility("hidden")));

static word pid, parent;

static void look(const char *name, long (*shape)(void), word expected)
{
	int right = 0;
	for (int i = 0; i < 50; i++)
		right += (word)shape() == expected;
	say(name, right);
}

__attribute__((used, noreturn)) void entry(word *stack)
{
	(void)stack;
	pid = CALL0(SYS_getpid);
	parent = CALL0(SYS_getppid);
#define LOOK(name) look(#name, name, pid)
	LOOK(mov_eax);
	LOOK(mov_rax);
	LOOK(movabs_rax);
	LOOK(push_pop);
	LOOK(xor_then_byte);
	LOOK(by_lea);
	LOOK(computed);
	LOOK(with_nops);
	LOOK(after_another_load);
	LOOK(two_in_a_row);
	LOOK(number_from_call);
	LOOK(back_to_back);
	LOOK(flags_between);
	LOOK(indirect_number);
	LOOK(prefixed);
	LOOK(conditional);
	LOOK(at_the_end);
	LOOK(loop_body);
	LOOK(shared_body);
	look("enter_middle", enter_middle, parent);
	LOOK(shared_body);
	look("enter_middle", enter_middle, parent);
	LOOK(enter_middle_again);
	CALL1(SYS_exit_group, 0);
	__builtin_unreachable();
}

START;
