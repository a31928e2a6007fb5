// sigaction's flags: SA_NODEFER, SA_RESETHAND, SA_SIGINFO, the handler's mask, what is read back.
// variants: dynamic static-pie musl
#include "report.h"

static volatile int depth, deepest, runs;
static siginfo_t seen;

static void nesting(int number)
{
	depth++;
	runs++;
	if (depth > deepest)
		deepest = depth;
	if (runs < 3)
		raise(number);
	depth--;
}

static void informed(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen = *info;
}

static void counting(int number)
{
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	SAY("in %s: USR1 %d USR2 %d TERM %d", signal_name(number), sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2),
	    sigismember(&now, SIGTERM));
	runs++;
}

int main(void)
{
	struct sigaction action = { .sa_handler = nesting }, old;

	CASE("deferred");
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	SAY("runs %d deepest %d", runs, deepest);
	CASE("not deferred");
	runs = deepest = 0;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	SAY("runs %d deepest %d", runs, deepest);
	CASE("mask of the handler");
	action = (struct sigaction){ .sa_handler = counting };
	sigaddset(&action.sa_mask, SIGTERM);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	action.sa_flags = SA_NODEFER;
	sigaction(SIGUSR2, &action, NULL);
	raise(SIGUSR2);
	CASE("reset");
	action = (struct sigaction){ .sa_handler = counting, .sa_flags = SA_RESETHAND };
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &old);
	SAY("default again %d", old.sa_handler == SIG_DFL);
	CASE("information");
	action = (struct sigaction){ .sa_sigaction = informed, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &action, NULL);
	kill(getpid(), SIGUSR1);
	SAY("%s code %d self %d uid %d", signal_name(seen.si_signo), seen.si_code, seen.si_pid == getpid(), seen.si_uid);
	raise(SIGUSR1);
	SAY("%s code %d self %d", signal_name(seen.si_signo), seen.si_code, seen.si_pid == getpid());
	CASE("read back");
	action = (struct sigaction){ .sa_handler = counting, .sa_flags = SA_RESTART | SA_NODEFER };
	sigaddset(&action.sa_mask, SIGHUP);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR1, NULL, &old);
	SAY("handler %d flags %x HUP %d INT %d", old.sa_handler == counting, old.sa_flags & ~0x04000000,
	    sigismember(&old.sa_mask, SIGHUP), sigismember(&old.sa_mask, SIGINT));
	CASE("errors");
	ERR(sigaction(SIGKILL, &action, NULL));
	ERR(sigaction(SIGSTOP, &action, NULL));
	ERR(sigaction(SIGKILL, NULL, &old));
	ERR(sigaction(0, &action, NULL));
	ERR(sigaction(65, &action, NULL));
	DONE();
}
