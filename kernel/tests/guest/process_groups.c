// Supplementary groups are kept in order, whatever order they are given in.
// variants: dynamic static-pie musl
#include "report.h"
#include <grp.h>
#include <sys/syscall.h>

int main(void)
{
	gid_t given[4] = { 30, 10, 40, 20 }, kept[8];
	NEED(syscall(SYS_setgroups, 4, given));
	int count = NEED(syscall(SYS_getgroups, 8, kept));
	for (int i = 0; i < count; i++)
		VAL(kept[i]);
	ERR(syscall(SYS_getgroups, 3, kept));
	VAL(syscall(SYS_getgroups, 0, NULL));
	ERR(syscall(SYS_setgroups, 65537, given));
	ERR(syscall(SYS_setgroups, -1, given));
	ERR(syscall(SYS_setgroups, 0, NULL));
	VAL(syscall(SYS_getgroups, 8, kept));
	DONE();
}
