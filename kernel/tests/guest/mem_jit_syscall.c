// A system call instruction that the program wrote itself works as any other, more than once.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/mman.h>

int main(void)
{
	// mov eax, 39 (getpid); syscall; ret
	static const unsigned char moved[] = { 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	// mov rax, rdi; syscall; ret
	static const unsigned char computed[] = { 0x48, 0x89, 0xf8, 0x0f, 0x05, 0xc3 };
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(map != MAP_FAILED);
	memcpy(map, moved, sizeof(moved));
	memcpy(map + 64, computed, sizeof(computed));
	long (*first)(void) = (long (*)(void))map;
	long (*second)(long) = (long (*)(long))(map + 64);
	int agreed = 0;
	for (int i = 0; i < 100; i++)
		agreed += first() == getpid() && second(39) == getpid() && second(110) == getppid();
	VAL(agreed);
	CASE("the number is rewritten");
	map[1] = 110;
	CHECK(first() == getppid());
	CASE("another function on the page");
	memcpy(map, computed, sizeof(computed));
	CHECK(((long (*)(long))map)(39) == getpid());
	DONE();
}
