// What the kernel leaves on a new program's stack: argc, argv, envp, auxv, alignment, registers.
// variants: raw
#include "freestanding.h"

enum { AT_NULL, AT_IGNORE, AT_EXECFD, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY, AT_UID = 11,
       AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE = 23, AT_RANDOM = 25, AT_HWCAP2, AT_EXECFN = 31,
       AT_SYSINFO_EHDR = 33, AT_MINSIGSTKSZ = 51 };

extern char _start[] __attribute__((visibility("hidden")));
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

__attribute__((used, noreturn)) void entry(word *stack)
{
	word argc = stack[0];
	char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
	word values[64] = { 0 }, present = 0, environment = 0;

	VAL(argc);
	CHECK(((word)stack & 15) == 0);
	CHECK(argv[argc] == 0);
	CHECK(text_equal(argv[0], "/tests/raw/raw_start"));
	while (envp[environment])
		environment++;
	VAL(environment);
	CHECK(text_equal(envp[0], "PATH=/bin:/usr/bin"));
	CHECK((word)argv[0] > (word)stack && (word)envp[0] > (word)argv[0]);
	CHECK((((word)argv[0]) >> 12) - ((word)stack >> 12) < 32);

	word *vector = (word *)(envp + environment + 1);
	for (; vector[0] != AT_NULL; vector += 2) {
		if (vector[0] < 64) {
			values[vector[0]] = vector[1];
			present |= 1ul << vector[0];
		}
	}
	CHECK((word)vector < (word)argv[0]);
	static const unsigned char needed[] = { AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY, AT_UID, AT_EUID,
						AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE, AT_RANDOM, AT_HWCAP2,
						AT_EXECFN, AT_SYSINFO_EHDR, AT_MINSIGSTKSZ };
	for (word i = 0; i < sizeof(needed); i++)
		if (!(present & 1ul << needed[i]))
			say("missing auxv entry", needed[i]);
	CHECK(values[AT_ENTRY] == (word)_start);
	const unsigned short *header = (const unsigned short *)__ehdr_start;
	CHECK(values[AT_PHDR] == (word)__ehdr_start + *(const word *)(__ehdr_start + 32));
	CHECK(values[AT_PHENT] == 56 && values[AT_PHNUM] == header[28]);
	VAL(values[AT_PAGESZ]);
	VAL(values[AT_BASE]);
	VAL(values[AT_FLAGS]);
	VAL(values[AT_UID] | values[AT_EUID] | values[AT_GID] | values[AT_EGID]);
	VAL(values[AT_CLKTCK]);
	VAL(values[AT_SECURE]);
	CHECK(text_equal((const char *)values[AT_PLATFORM], "x86_64"));
	CHECK(text_equal((const char *)values[AT_EXECFN], "/tests/raw/raw_start"));
	const word *random = (const word *)values[AT_RANDOM];
	CHECK(random[0] != 0 && random[1] != 0 && random[0] != random[1]);
	const char *vdso = (const char *)values[AT_SYSINFO_EHDR];
	CHECK(((word)vdso & 4095) == 0 && vdso[0] == 0x7f && vdso[1] == 'E' && vdso[2] == 'L' && vdso[3] == 'F');
	CHECK(values[AT_MINSIGSTKSZ] >= 1024 && values[AT_MINSIGSTKSZ] < 65536);
	CHECK(values[AT_HWCAP] & 1);
	CALL1(SYS_exit_group, report_failures ? 1 : 0);
	__builtin_unreachable();
}

START;
