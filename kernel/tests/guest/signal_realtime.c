// Real-time signals queue with their values, lower numbers first; sigqueue, sigwaitinfo, sigtimedwait.
#include "report.h"
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static volatile int runs;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	SAY("handled RTMIN+%d value %d code %d", number - SIGRTMIN, info->si_value.sival_int, info->si_code);
	runs++;
}

static void queue(int number, int value)
{
	NEED(sigqueue(getpid(), number, (union sigval){ .sival_int = value }));
}

int main(void)
{
	sigset_t set;
	siginfo_t info;
	struct timespec zero = { 0, 0 }, soon = { 0, 10000000 };
	VAL(SIGRTMAX - SIGRTMIN);
	sigemptyset(&set);
	for (int i = 0; i < 4; i++)
		sigaddset(&set, SIGRTMIN + i);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	queue(SIGRTMIN + 2, 20);
	queue(SIGRTMIN + 1, 10);
	queue(SIGRTMIN + 2, 21);
	queue(SIGUSR1, 1);
	queue(SIGUSR1, 2);
	queue(SIGRTMIN + 1, 11);
	for (int number; (number = sigtimedwait(&set, &info, &zero)) > 0;)
		SAY("%s+%d value %d code %d self %d", number == SIGUSR1 ? "USR1" : "RTMIN", number == SIGUSR1 ? 0 : number - SIGRTMIN,
		    info.si_value.sival_int, info.si_code, info.si_pid == getpid());
	SAY("%s", errno_name(errno));
	CASE("handlers");
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	for (int i = 0; i < 4; i++)
		sigaddset(&action.sa_mask, SIGRTMIN + i);
	for (int i = 0; i < 4; i++)
		sigaction(SIGRTMIN + i, &action, NULL);
	for (int i = 0; i < 3; i++)
		for (int number = 3; number >= 0; number--)
			queue(SIGRTMIN + number, i);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	VAL(runs);
	CASE("waiting");
	sigprocmask(SIG_BLOCK, &set, NULL);
	ERR(sigtimedwait(&set, &info, &soon));
	pid_t child = vfork();
	if (child == 0) {
		sigqueue(getppid(), SIGRTMIN, (union sigval){ .sival_int = 99 });
		_exit(0);
	}
	VAL(sigwaitinfo(&set, &info) == SIGRTMIN);
	SAY("value %d from the child %d", info.si_value.sival_int, info.si_pid == child);
	waitpid(child, NULL, 0);
	CASE("errors");
	ERR(sigqueue(getpid(), 65, (union sigval){ 0 }));
	ERR(sigqueue(999999, SIGUSR1, (union sigval){ 0 }));
	ERR(sigqueue(getpid(), 0, (union sigval){ 0 }));
	struct timespec bad = { 0, -1 };
	ERR(sigtimedwait(&set, &info, &bad));
	DONE();
}
