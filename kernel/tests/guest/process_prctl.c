// prctl: names, death signal, dumpable, no new privileges, subreaper, unknown options.
#include "report.h"
#include <fcntl.h>
#include <sys/prctl.h>

int main(void)
{
	char name[17] = "", comm[32] = "";
	int value = -1;
	ERR(prctl(PR_SET_NAME, "a name that is far too long"));
	ERR(prctl(PR_GET_NAME, name));
	SAY("%s", name);
	int fd = NEED(open("/proc/self/comm", O_RDONLY));
	NEED(read(fd, comm, sizeof(comm)));
	SAY("%s", comm);
	ERR(prctl(PR_GET_PDEATHSIG, &value));
	VAL(value);
	ERR(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	ERR(prctl(PR_GET_PDEATHSIG, &value));
	VAL(value);
	ERR(prctl(PR_SET_PDEATHSIG, 1000));
	VAL(prctl(PR_GET_DUMPABLE));
	ERR(prctl(PR_SET_DUMPABLE, 0));
	VAL(prctl(PR_GET_DUMPABLE));
	ERR(prctl(PR_SET_DUMPABLE, 7));
	VAL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	ERR(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	VAL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	ERR(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	ERR(prctl(PR_GET_CHILD_SUBREAPER, &value));
	VAL(value);
	ERR(prctl(PR_SET_KEEPCAPS, 1));
	VAL(prctl(PR_GET_KEEPCAPS));
	ERR(prctl(123456));
	DONE();
}
