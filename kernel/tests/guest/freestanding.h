// For programs without a C library: the bare system call, and lines like report.h's.
#pragma once

typedef unsigned long word;

static int report_failures;

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long result;
	asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

#define CALL0(number) syscall6(number, 0, 0, 0, 0, 0, 0)
#define CALL1(number, a) syscall6(number, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(number, a, b) syscall6(number, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(number, a, b, c) syscall6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(number, a, b, c, d) syscall6(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

enum { SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14,
       SYS_getpid = 39, SYS_exit = 60, SYS_kill = 62, SYS_getppid = 110, SYS_arch_prctl = 158, SYS_gettid = 186,
       SYS_exit_group = 231 };

static inline word text_length(const char *text)
{
	word length = 0;
	while (text[length])
		length++;
	return length;
}

static inline int text_equal(const char *left, const char *right)
{
	while (*left && *left == *right)
		left++, right++;
	return *left == *right;
}

static inline char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	return to;
}

static inline char *append_number(char *to, long value)
{
	char digits[24];
	int count = 0;
	word rest = value < 0 ? -(word)value : (word)value;

	if (value < 0)
		*to++ = '-';
	do {
		digits[count++] = '0' + rest % 10;
		rest /= 10;
	} while (rest);
	while (count)
		*to++ = digits[--count];
	return to;
}

static inline void say(const char *text, long value)
{
	char line[512];
	char *end = append(line, text);
	end = append(end, ": ");
	end = append_number(end, value);
	*end++ = '\n';
	CALL3(SYS_write, 1, line, end - line);
}

static inline void check(const char *text, int holds)
{
	say(text, holds);
	if (!holds)
		report_failures++;
}

#define CHECK(expression) check(#expression, !!(expression))
#define VAL(expression) say(#expression, (long)(expression))

// The program's entry: `entry(stack)` gets the address that the kernel left in rsp.
#define START asm(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall entry\n\tud2\n")
