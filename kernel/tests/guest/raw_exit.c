// The smallest program: exit with a status, no library, no stack use.
// variants: raw
// exits: 77
asm(".globl _start\n_start:\n\tmov $60, %eax\n\tmov $77, %edi\n\tsyscall\n\tud2\n");
