// exit runs handlers in reverse, then destructors, flushes streams, and gives the status.
// exits: 17
#include "report.h"
#include <stdlib.h>

static void first(void)
{
	SAY("first");
}

static void second(void)
{
	SAY("second");
}

static __attribute__((constructor)) void before(void)
{
	SAY("constructor");
}

static __attribute__((destructor)) void after(void)
{
	SAY("destructor");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, BUFSIZ); // whatever stdout is: a terminal's would be flushed at the newline
	atexit(first);
	atexit(second);
	SAY("main");
	printf("buffered until exit\n");
	exit(17);
}
