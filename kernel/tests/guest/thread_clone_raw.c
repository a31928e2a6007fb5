// clone by hand: a thread on its own stack, tid words set and cleared with a wake, CLONE_VFORK with CLONE_VM.
#include "report.h"
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile int parent_word, child_word, ran, tid_seen;

static int body(void *argument)
{
	tid_seen = syscall(SYS_gettid);
	ran = *(int *)argument;
	return 0;
}

static int quick(void *argument)
{
	ran = *(int *)argument + (getpid() != *(pid_t *)(argument + sizeof(int)));
	_exit(11);
}

int main(void)
{
	int value = 42, status;
	size_t size = 64 * 1024;
	char *stack = malloc(size);
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
		    CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;
	child_word = -1;
	int tid = NEED(clone(body, stack + size, flags, &value, &parent_word, NULL, &child_word));
	while (child_word != 0) {
		int now = child_word;
		if (now != 0)
			syscall(SYS_futex, &child_word, FUTEX_WAIT, now, NULL, NULL, 0);
	}
	VAL(ran);
	CHECK(parent_word == tid && tid_seen == tid && tid != getpid());
	CASE("vfork by clone");
	struct {
		int value;
		pid_t parent;
	} both = { 5, getpid() };
	pid_t child = NEED(clone(quick, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD, &both));
	VAL(ran);
	CHECK(waitpid(child, &status, 0) == child);
	VAL(WEXITSTATUS(status));
	CASE("no exit signal");
	child = NEED(clone(quick, stack + size, CLONE_VM | CLONE_VFORK, &both));
	ERR(waitpid(child, &status, WNOHANG));
	CHECK(waitpid(child, &status, __WALL) == child);
	VAL(WEXITSTATUS(status));
	CASE("errors");
	ERR(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
	ERR(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
	ERR(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
	CHECK(syscall(SYS_set_tid_address, &child_word) == getpid());
	DONE();
}
