// Which signals end, ignore or stop a process by default, told by its parent, real-time ones included.
#include "report.h"
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

__attribute__((noinline)) static pid_t start(int number)
{
	pid_t child = vfork();
	if (child != 0)
		return child;
	syscall(SYS_kill, syscall(SYS_getpid), number);
	_exit(0);
}

int main(void)
{
	int status;
	for (int number = 1; number <= 64; number++) {
		if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU || number == 32 || number == 33)
			continue;
		pid_t child = start(number);
		waitpid(child, &status, 0);
		if (WIFSIGNALED(status))
			SAY("%d ends with %d", number, WTERMSIG(status));
		else
			SAY("%d ignored, exit %d", number, WEXITSTATUS(status));
	}
	DONE();
}
