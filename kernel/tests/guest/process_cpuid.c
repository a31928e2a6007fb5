// cpuid gives the same each time, however often its instruction has run, and changes nothing but its four registers.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct registers {
	uint64_t a, b, c, d;
};

#define BODY(room)                                                                                                      \
	".cfi_startproc\n\tpush %rbx\n\t.cfi_adjust_cfa_offset 8\n\tmov %rdx, %r8\n\tmov %edi, %eax\n\tmov %esi, %ecx\n\t"  \
	"movabs $0x8888888811111111, %rbx\n\tmov %rbx, %rdx\n\tjmp 1f\n1:\t" room "cpuid\n\t"                           \
	"mov %rax, (%r8)\n\tmov %rbx, 8(%r8)\n\tmov %rcx, 16(%r8)\n\tmov %rdx, 24(%r8)\n\tpop %rbx\n\tret\n.cfi_endproc\n"
#define SHAPE(name, room) \
	asm(".balign 16\n.type " #name ", @function\n" #name ":\n" BODY(room) ".size " #name ", .-" #name "\n"); \
	void name(uint32_t leaf, uint32_t subleaf, struct registers *into)

SHAPE(by_long, "movq $0, -64(%rsp)\n\t");
SHAPE(by_several, "mov %edi, %eax\n\tmov %esi, %ecx\n\tnop\n\t");
SHAPE(by_relative, "mov relative_word(%rip), %r9\n\t");
SHAPE(by_input, "mov %rdi, %rdx\n\tmov %edx, %eax\n\t");
SHAPE(bare, "");
asm(".pushsection .data\n.balign 8\nrelative_word: .quad 7\n.popsection");

// Eight and more in a text: it is looked through early.
asm(".balign 16\n.type many, @function\nmany:\n.cfi_startproc\n\tpush %rbx\n\t.cfi_adjust_cfa_offset 8\n\t.rept 12\n\tmov $0, %eax\n\tcpuid\n\t.endr\n\t"
    "pop %rbx\n\tret\n.cfi_endproc\n.size many, .-many\n");
int many(void);

// All registers and flags around one in the middle of a line.
asm(".balign 16\n.type kept, @function\nkept:\n.cfi_startproc\n\tpush %rbx\n\t.cfi_adjust_cfa_offset 8\n\tmov %rdi, %r8\n\t"
    "movabs $0x1234567890abcdef, %rsi\n\tmov %rsi, %rdi\n\tmov %rsi, %r9\n\tmov %rsi, %r10\n\tmov %rsi, %r11\n\t"
    "movq %rsi, %xmm15\n\tmov %rsp, (%r8)\n\tmov %rsi, -24(%rsp)\n\tstc\n\tstd\n\tmov $7, %eax\n\tmov $0, %ecx\n\tcpuid\n\t"
    "pushfq\n\tpopq 8(%r8)\n\tcld\n\tmov %rsp, 16(%r8)\n\tmov %rdi, 24(%r8)\n\tmov %r9, 32(%r8)\n\tmov %r10, 40(%r8)\n\t"
    "mov %r11, 48(%r8)\n\tmovq %xmm15, 56(%r8)\n\tmov -24(%rsp), %rax\n\tmov %rax, 64(%r8)\n\tmov %rsi, 72(%r8)\n\tpop %rbx\n\tret\n"
    ".cfi_endproc\n.size kept, .-kept\n");
void kept(uint64_t *into);

static const struct {
	uint32_t leaf, subleaf;
} LEAVES[] = { { 0, 0 }, { 1, 0 }, { 2, 0 }, { 4, 0 }, { 4, 1 }, { 4, 2 }, { 7, 0 }, { 7, 1 }, { 0xb, 0 }, { 0xb, 1 }, { 0xb, 9 },
	       { 0xd, 0 }, { 0xd, 1 }, { 0xd, 2 }, { 0x14, 0 }, { 0x16, 0 }, { 0x19, 0 }, { 0x1f, 0 }, { 0x80000000, 0 },
	       { 0x80000001, 0 }, { 0x80000002, 0 }, { 0x80000006, 0 }, { 0x80000007, 0 }, { 0x80000008, 0 }, { 0x7fffffff, 0 },
	       { 0x40000000, 0 }, { 0, 0x12345 } };

// Takes out what is the processor's own number, how many there are, and AMX.
static void mask(uint32_t leaf, uint32_t subleaf, struct registers *r)
{
	if (leaf == 1)
		r->b &= 0xffff;
	else if (leaf == 4)
		r->a &= 0x3fff;
	else if (leaf == 7 && subleaf == 0)
		r->d &= ~(1u << 22 | 1u << 24 | 1u << 25);
	else if (leaf == 7)
		r->a &= ~(1u << 21), r->d &= ~(1u << 8);
	else if (leaf == 0xb || leaf == 0x1f)
		r->a = r->b = r->d = 0, r->c &= 0xff;
	else if (leaf == 0x80000008)
		r->c &= ~0xf0ffu;
	else if (leaf == 0x19 || leaf == 0x40000000 || leaf == 0x7fffffff)
		*r = (struct registers){ r->a >> 32, r->b >> 32, r->c >> 32, r->d >> 32 };
}

static int compare(void (*shape)(uint32_t, uint32_t, struct registers *), void (*reference)(uint32_t, uint32_t, struct registers *))
{
	int same = 0;
	for (unsigned i = 0; i < sizeof(LEAVES) / sizeof(*LEAVES); i++) {
		struct registers left, right;
		shape(LEAVES[i].leaf, LEAVES[i].subleaf, &left);
		reference(LEAVES[i].leaf, LEAVES[i].subleaf, &right);
		mask(LEAVES[i].leaf, LEAVES[i].subleaf, &left);
		mask(LEAVES[i].leaf, LEAVES[i].subleaf, &right);
		same += !memcmp(&left, &right, sizeof(left));
	}
	return same == sizeof(LEAVES) / sizeof(*LEAVES);
}

static void look(int round)
{
	// The same instructions in memory of our own.
	unsigned char *copy = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*reference)(uint32_t, uint32_t, struct registers *) = (void *)copy;
	memcpy(copy, (unsigned char[]){ 0x53, 0x49, 0x89, 0xd0, 0x89, 0xf8, 0x89, 0xf1, 0x0f, 0xa2, 0x49, 0x89, 0x00, 0x49, 0x89, 0x58, 8,
					0x49, 0x89, 0x48, 16, 0x49, 0x89, 0x50, 24, 0x5b, 0xc3 }, 27);
	VAL(round);
	CHECK(compare(by_long, reference));
	CHECK(compare(by_several, reference));
	CHECK(compare(by_relative, reference));
	CHECK(compare(bare, reference));
	struct registers left, right;
	by_input(0, 0, &left);
	reference(0, 0, &right);
	CHECK(!memcmp(&left, &right, sizeof(left)));
	many();
	uint64_t k[10];
	kept(k);
	CHECK(k[2] == k[0]);
	CHECK((k[1] & 0x401) == 0x401);
	CHECK(k[3] == 0x1234567890abcdef && k[4] == k[3] && k[5] == k[3] && k[6] == k[3] && k[7] == k[3] && k[8] == k[3] && k[9] == k[3]);
	munmap(copy, 4096);
}

static long raw_getppid(void)
{
	long result;
	asm volatile("mov $110, %%eax\n\tsyscall" : "=a"(result) : : "rcx", "r11", "memory");
	return result;
}

int main(void)
{
	look(1);
	long parent = raw_getppid(), same = 0;
	for (int i = 0; i < 300; i++)
		same += raw_getppid() == parent;
	VAL(same);
	look(2);
	look(3);
	DONE();
}
