// Calls whose number comes from elsewhere than the instruction in front: every register but rax, rcx and r11 is kept, the
// flags are, rcx is the address behind the call, and what runs around the call runs once.
// variants: raw
#include "freestanding.h"

// Each shape is a function of its own with an unwind record, as compilers make them. rdi is the number, rsi a word.
#define SHAPE(name, body)                                                                                               \
	asm(".balign 16\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n\t" body                               \
	    "\n.cfi_endproc\n.size " #name ", .-" #name "\n");                                                          \
	long name(word number, word *counter) __attribute__((visibility("hidden")))

SHAPE(two_bytes_wide_next, "mov %rdi, %rax\n\tjmp 1f\n1:\tmov %edi, %eax\n\tsyscall\n\tcmp $-4096, %rax\n\tja 2f\n\tret\n2:\tneg %rax\n\tret");
SHAPE(xor_alone, "nop\n\tjmp 1f\n1:\txor %eax, %eax\n\tsyscall\n\tmov %rax, %rax\n\tret");
SHAPE(long_store, "mov %edi, %eax\n\tmov %rbx, -40(%rsp)\n\tsyscall\n\tret");
SHAPE(long_add, "mov %edi, %eax\n\taddq $1, (%rsi)\n\taddl $0x10000, (%rsi)\n\tsyscall\n\tret");
SHAPE(relative_load, "mov %edi, %eax\n\tmov displaced_word(%rip), %r8\n\tsyscall\n\tmov %r8, 8(%rsi)\n\tret");
SHAPE(relative_store, "mov %edi, %eax\n\taddq $3, displaced_count(%rip)\n\tsyscall\n\tret");
SHAPE(several, "mov %edi, %eax\n\tmov %edi, %edx\n\tinc %edx\n\tsyscall\n\tret");
SHAPE(several_adding, "mov %edi, %eax\n\tincl (%rsi)\n\tincl (%rsi)\n\tsyscall\n\tret");
SHAPE(loop_to_the_middle, "mov $3, %r8d\n\tmov %edi, %eax\n1:\tmov %edi, %edx\n\tmov %edi, %eax\n\tsyscall\n\tdec %r8d\n\tjnz 1b\n\tret");
SHAPE(under_a_switch, "mov %edi, %eax\n\tlea 1f(%rip), %r9\n\tjmp *%r9\n1:\tmov %edi, %edx\n\tmov %edi, %eax\n\tsyscall\n\tret");
SHAPE(red_zone, "movq $77, -8(%rsp)\n\tmov %edi, %eax\n\tmov %rsi, -72(%rsp)\n\tsyscall\n\tcmpq $77, -8(%rsp)\n\tjne 1f\n\tcmp %rsi, -72(%rsp)\n\tjne 1f\n\tret\n1:\tud2");
SHAPE(carry_kept, "mov %edi, %eax\n\tstc\n\tmovb $1, -9(%rsp)\n\tsyscall\n\tjnc 1f\n\tret\n1:\tud2");
asm(".pushsection .data\n.balign 8\ndisplaced_word: .quad 0x123456789\ndisplaced_count: .quad 0\n.popsection");
extern word displaced_count __attribute__((visibility("hidden")));

// What the kernel says of rcx and r11 behind a call of two bytes' room.
asm(".balign 16\n.type see_registers, @function\nsee_registers:\n.cfi_startproc\n\tstd\n\tstc\n\tjmp 1f\n1:\tmov %edi, %eax\n\t"
    "syscall\nseen_return:\n\tmov %rcx, (%rsi)\n\tmov %r11, 8(%rsi)\n\tpushfq\n\tpopq 16(%rsi)\n\tcld\n\tret\n.cfi_endproc\n"
    ".size see_registers, .-see_registers\nreturn_address: lea seen_return(%rip), %rax\n\tret\n");
long see_registers(word number, word *into) __attribute__((visibility("hidden")));
word return_address(void) __attribute__((visibility("hidden")));

static word parent;

static void look(const char *name, long (*shape)(word, word *), word per_call)
{
	word words[2] = { 0, 0 };
	int right = 0;
	for (int i = 0; i < 100; i++)
		right += (word)shape(SYS_getppid, words) == parent;
	say(name, right);
	check("  counted once a call", words[0] == 100 * per_call);
}

__attribute__((used, noreturn)) void entry(word *stack)
{
	(void)stack;
	parent = CALL0(SYS_getppid);
#define LOOK(name, per_call) look(#name, name, per_call)
	LOOK(two_bytes_wide_next, 0);
	LOOK(long_store, 0);
	LOOK(long_add, 0x10001);
	LOOK(relative_load, 0);
	LOOK(relative_store, 0);
	VAL(displaced_count);
	LOOK(several, 0);
	LOOK(several_adding, 2);
	LOOK(loop_to_the_middle, 0);
	LOOK(under_a_switch, 0);
	LOOK(red_zone, 0);
	LOOK(carry_kept, 0);
	int rcx = 1, r11 = 1;
	for (int i = 0; i < 100; i++) {
		word into[3];
		see_registers(SYS_getppid, into);
		rcx &= into[0] == return_address();
		r11 &= (into[1] & 0xcd5) == (into[2] & 0xcd5) && (into[1] & 0x401) == 0x401;
	}
	check("rcx is the return address", rcx);
	check("r11 is the flags", r11);
	// Number 0 is read: descriptor 99 is nobody's.
	word failed = 0;
	for (int i = 0; i < 100; i++)
		failed += xor_alone(99, (word *)0) == -9;
	VAL(failed);
	CALL1(SYS_exit_group, 0);
	__builtin_unreachable();
}

START;
