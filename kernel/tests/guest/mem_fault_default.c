// Without a handler a NULL dereference ends the process with SIGSEGV.
// variants: dynamic static-pie musl
// exits: 139
#include "report.h"

int main(void)
{
	volatile char *volatile null = NULL;
	SAY("before");
	*null = 1;
	SAY("never");
	return 0;
}
