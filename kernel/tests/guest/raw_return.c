// Returning from _start goes to argc's value as an address, which is nobody's: SIGSEGV.
// variants: raw
// exits: 139
asm(".globl _start\n_start:\n\tret\n");
