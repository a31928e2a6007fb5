// A fault whose signal is blocked or ignored ends the process all the same.
#include "report.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	pid_t child;
	int status;
	sigset_t set;
	volatile char *volatile null = NULL;
	if (argc > 1) {
		if (argv[1][0] == 'b') {
			sigemptyset(&set);
			sigaddset(&set, SIGSEGV);
			sigprocmask(SIG_BLOCK, &set, NULL);
		} else {
			signal(SIGSEGV, SIG_IGN);
		}
		raise(SIGSEGV);
		SAY("a sent one waits or is dropped");
		*null = 1;
		return 0;
	}
	for (int i = 0; i < 2; i++) {
		char *arguments[] = { argv[0], i ? "ignored" : "blocked", NULL }, *environment[] = { NULL };
		NEED(posix_spawn(&child, argv[0], NULL, NULL, arguments, environment));
		waitpid(child, &status, 0);
		SAY("%s: %s", arguments[1], signal_name(WTERMSIG(status)));
	}
	DONE();
}
