// How a guest program tells what it saw: whole lines, one write(2) each, nothing that depends on the host.
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int report_failures;

static inline const char *errno_name(int number)
{
#define NAME(symbol) case symbol: return #symbol;
	switch (number) {
	case 0: return "0";
	NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(ENOEXEC) NAME(EBADF)
	NAME(ECHILD) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(ENOTBLK) NAME(EBUSY) NAME(EEXIST)
	NAME(EXDEV) NAME(ENODEV) NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(ENOTTY)
	NAME(ETXTBSY) NAME(EFBIG) NAME(ENOSPC) NAME(ESPIPE) NAME(EROFS) NAME(EMLINK) NAME(EPIPE) NAME(EDOM)
	NAME(ERANGE) NAME(EDEADLK) NAME(ENAMETOOLONG) NAME(ENOLCK) NAME(ENOSYS) NAME(ENOTEMPTY) NAME(ELOOP)
	NAME(ENODATA) NAME(ETIME) NAME(EPROTO) NAME(EBADMSG) NAME(EOVERFLOW) NAME(EILSEQ) NAME(ENOTSOCK)
	NAME(EDESTADDRREQ) NAME(EMSGSIZE) NAME(EPROTOTYPE) NAME(ENOPROTOOPT) NAME(EPROTONOSUPPORT)
	NAME(ESOCKTNOSUPPORT) NAME(EOPNOTSUPP) NAME(EPFNOSUPPORT) NAME(EAFNOSUPPORT) NAME(EADDRINUSE)
	NAME(EADDRNOTAVAIL) NAME(ENETDOWN) NAME(ENETUNREACH) NAME(ENETRESET) NAME(ECONNABORTED) NAME(ECONNRESET)
	NAME(ENOBUFS) NAME(EISCONN) NAME(ENOTCONN) NAME(ESHUTDOWN) NAME(ETIMEDOUT) NAME(ECONNREFUSED)
	NAME(EHOSTDOWN) NAME(EHOSTUNREACH) NAME(EALREADY) NAME(EINPROGRESS) NAME(ECANCELED) NAME(EOWNERDEAD)
	NAME(ENOTRECOVERABLE) NAME(ENOMSG) NAME(EIDRM)
	default: return "unnamed errno";
	}
#undef NAME
}

static inline const char *signal_name(int number)
{
#define NAME(symbol) case symbol: return #symbol;
	switch (number) {
	case 0: return "0";
	NAME(SIGHUP) NAME(SIGINT) NAME(SIGQUIT) NAME(SIGILL) NAME(SIGTRAP) NAME(SIGABRT) NAME(SIGBUS) NAME(SIGFPE)
	NAME(SIGKILL) NAME(SIGUSR1) NAME(SIGSEGV) NAME(SIGUSR2) NAME(SIGPIPE) NAME(SIGALRM) NAME(SIGTERM)
	NAME(SIGSTKFLT) NAME(SIGCHLD) NAME(SIGCONT) NAME(SIGSTOP) NAME(SIGTSTP) NAME(SIGTTIN) NAME(SIGTTOU)
	NAME(SIGURG) NAME(SIGXCPU) NAME(SIGXFSZ) NAME(SIGVTALRM) NAME(SIGPROF) NAME(SIGWINCH) NAME(SIGIO)
	NAME(SIGPWR) NAME(SIGSYS)
	default: return number >= 34 && number <= 64 ? "real-time signal" : "unnamed signal";
	}
#undef NAME
}

// One line of printf's kind, errno untouched.
__attribute__((format(printf, 1, 2), unused)) static void SAY(const char *format, ...)
{
	char line[1024];
	int saved = errno;
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	for (int done = 0; done < length;) {
		ssize_t written = write(STDOUT_FILENO, line + done, length - done);
		if (written < 0 && errno != EINTR)
			break;
		if (written > 0)
			done += written;
	}
	errno = saved;
}

static inline int report_check(int holds, const char *text)
{
	SAY("%s: %d", text, holds);
	if (!holds)
		__atomic_fetch_add(&report_failures, 1, __ATOMIC_RELAXED);
	return holds;
}

static inline long report_error(long result, int error, const char *text)
{
	if (result == -1)
		SAY("%s -> -1 %s", text, errno_name(error));
	else
		SAY("%s -> ok", text);
	errno = error;
	return result;
}

// Starts a numbered part of a program.
#define CASE(text) SAY("## %s", text)

// A relation that holds wherever Linux runs; one that does not makes the program exit with 1.
#define CHECK(expression) report_check(!!(expression), #expression)

// A call that may fail, by the name of its errno.
#define ERR(call) ({ errno = 0; long result_ = (long)(call); report_error(result_, errno, #call); })

// A pthread-style call, which returns its error.
#define RET(call) ({ int result_ = (call); SAY("%s -> %s", #call, errno_name(result_)); result_; })

// A number that is the same wherever Linux runs.
#define VAL(expression) SAY("%s = %lld", #expression, (long long)(expression))

// What the test needs before it can test anything.
#define NEED(call) ({ long result_ = (long)(call); \
	if (result_ == -1) { SAY("%s failed: %s", #call, errno_name(errno)); _exit(99); } result_; })

#define DONE() return report_failures ? 1 : 0
