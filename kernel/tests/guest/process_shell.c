// system and popen go through /bin/sh, which runs its own commands.
#include "report.h"
#include <stdlib.h>
#include <sys/wait.h>

int main(void)
{
	char line[64];
	int status = system("exit 7");
	SAY("exited %d status %d", WIFEXITED(status), WEXITSTATUS(status));
	status = system("echo from the shell; test -d /tmp && echo a directory");
	VAL(status);
	status = system("kill -TERM $$");
	SAY("signalled %d %s", WIFSIGNALED(status), signal_name(WTERMSIG(status)));
	FILE *out = popen("echo one; echo two; exit 3", "r");
	while (fgets(line, sizeof(line), out))
		SAY("read %.3s", line);
	status = pclose(out);
	VAL(WEXITSTATUS(status));
	FILE *in = popen("read a; echo got $a; exit 4", "w");
	fputs("words to the shell\n", in);
	status = pclose(in);
	VAL(WEXITSTATUS(status));
	DONE();
}
