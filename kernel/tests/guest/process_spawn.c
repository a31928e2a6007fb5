// posix_spawn with file actions, attributes and the path; its error is returned, not an exit status.
// variants: dynamic static-pie musl fixed
#include "report.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	pid_t child;
	int status, pipes[2];
	char text[64];
	if (argc > 1) {
		sigset_t mask;
		sigprocmask(SIG_SETMASK, NULL, &mask);
		SAY("%s: USR1 blocked %d, own group %d, fd 40 %d", argv[1], sigismember(&mask, SIGUSR1),
		    getpgrp() == getpid(), fcntl(40, F_GETFD));
		return atoi(argv[1]);
	}
	char *arguments[] = { argv[0], "5", NULL }, *environment[] = { NULL };
	int error = posix_spawn(&child, argv[0], NULL, NULL, arguments, environment);
	waitpid(child, &status, 0);
	SAY("started %s", errno_name(error));
	VAL(WEXITSTATUS(status));

	CASE("actions and attributes");
	NEED(pipe(pipes));
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	posix_spawn_file_actions_addopen(&actions, 40, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addclose(&actions, pipes[0]);
	posix_spawnattr_t attributes;
	posix_spawnattr_init(&attributes);
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	posix_spawnattr_setsigmask(&attributes, &mask);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	arguments[1] = "6";
	RET(posix_spawn(&child, argv[0], &actions, &attributes, arguments, environment));
	close(pipes[1]);
	long got = read(pipes[0], text, sizeof(text));
	SAY("through the pipe: %.*s", (int)got - 1, text);
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));

	CASE("errors");
	RET(posix_spawn(&child, "/tmp/none", NULL, NULL, arguments, environment));
	RET(posix_spawn(&child, "/etc/passwd", NULL, NULL, arguments, environment));
	posix_spawn_file_actions_addopen(&actions, 41, "/tmp/none", O_RDONLY, 0);
	RET(posix_spawn(&child, argv[0], &actions, NULL, arguments, environment));
	RET(posix_spawnp(&child, "no such program", NULL, NULL, arguments, environment));
	ERR(waitpid(-1, &status, WNOHANG));
	DONE();
}
