// abort ends the process with SIGABRT, also when the handler returns or the signal is blocked.
// variants: dynamic static-pie musl
// exits: 134
#include "report.h"
#include <stdlib.h>

static void on_signal(int number)
{
	SAY("handler for %s returns", signal_name(number));
}

int main(void)
{
	sigset_t set;
	signal(SIGABRT, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGABRT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	SAY("before");
	abort();
}
