// Job control on a pseudo-terminal: who may read, write and change it, the keys that signal, sizes, and giving it up.
#include "terminal.h"
#include <sys/wait.h>

static int m, s;

// Runs `work` in a process group of its own in the background; says how it ended or stopped.
static void background(const char *what, void (*prepare)(void), int (*work)(void))
{
	pid_t child = fork();
	if (child == 0) {
		setpgid(0, 0);
		if (prepare)
			prepare();
		int result = work();
		_exit(result == -1 ? errno : 100);
	}
	setpgid(child, child);
	int status;
	NEED(waitpid(child, &status, WUNTRACED));
	if (WIFSTOPPED(status)) {
		SAY("%s: stopped by %s", what, signal_name(WSTOPSIG(status)));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	} else if (WIFEXITED(status)) {
		int code = WEXITSTATUS(status);
		SAY("%s: %s", what, code == 100 ? "done" : errno_name(code));
	} else {
		SAY("%s: killed by %s", what, signal_name(WTERMSIG(status)));
	}
}

static void ignore(void)
{
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
}

static int reads(void)
{
	char byte;
	return read(s, &byte, 1);
}

static int writes(void)
{
	return write(s, "w", 1);
}

static int changes(void)
{
	struct termios t;
	return tcgetattr(s, &t) == 0 ? tcsetattr(s, TCSANOW, &t) : -1;
}

static int flushes(void)
{
	return tcflush(s, TCIFLUSH);
}

static int grabs(void)
{
	return tcsetpgrp(s, getpgrp());
}

static int resizes(void)
{
	struct winsize size = { 11, 22, 0, 0 };
	return ioctl(s, TIOCSWINSZ, &size);
}

static volatile sig_atomic_t seen;

static void note(int number)
{
	seen = number;
}

// A child in the foreground that ends with the number of the first signal it gets.
static int foreground_gets(const char *keys)
{
	int ready[2];
	NEED(pipe(ready));
	pid_t child = fork();
	if (child == 0) {
		setpgid(0, 0);
		signal(SIGTTOU, SIG_IGN);
		tcsetpgrp(s, getpgrp());
		int numbers[] = { SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP };
		sigset_t all, old;
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &old);
		for (int i = 0; i < 5; i++)
			signal(numbers[i], note);
		write(ready[1], "r", 1);
		sigemptyset(&old);
		while (!seen)
			sigsuspend(&old);
		_exit(seen);
	}
	char byte;
	int status;
	NEED(read(ready[0], &byte, 1));
	close(ready[0]);
	close(ready[1]);
	if (keys) {
		NEED(write(m, keys, strlen(keys)));
	} else {
		struct winsize size = { 40, 132, 1, 2 };
		NEED(ioctl(m, TIOCSWINSZ, &size));
	}
	NEED(waitpid(child, &status, 0));
	tcsetpgrp(s, getpgrp());
	return WEXITSTATUS(status);
}

static void leader(void)
{
	struct termios t;
	pid_t group = 0;
	int number;

	CASE("getting the terminal");
	VAL(setsid() == getpid());
	ERR(open("/dev/tty", O_RDWR));
	ERR(tcgetpgrp(s));
	close(s);
	s = NEED(open(pair_name, O_RDWR));
	CHECK(tcgetpgrp(s) == getpgrp());
	CHECK(tcgetsid(s) == getsid(0));
	ERR(ioctl(m, TIOCGPGRP, &group));
	CHECK(group == getpgrp());
	int own = NEED(open("/dev/tty", O_RDWR));
	CHECK(tcgetpgrp(own) == getpgrp());
	close(own);
	FILE *stat = fopen("/proc/self/stat", "r");
	int tty_nr = 0, tpgid = 0;
	CHECK(stat && fscanf(stat, "%*d %*s %*c %*d %*d %*d %d %d", &tty_nr, &tpgid) == 2);
	CHECK((tty_nr >> 8 & 0xfff) == 136);
	CHECK(tpgid == getpgrp());
	fclose(stat);
	ERR(ioctl(s, TIOCSCTTY, 0));
	ERR(tcsetpgrp(s, 99999));
	ERR(tcsetpgrp(s, 1));
	ERR(tcsetpgrp(s, -1));

	CASE("from the background");
	signal(SIGTTOU, SIG_IGN);
	background("read", NULL, reads);
	background("read, ignoring", ignore, reads);
	background("write", NULL, writes);
	background("change", NULL, changes);
	background("change, ignoring", ignore, changes);
	background("flush", NULL, flushes);
	background("tcsetpgrp", NULL, grabs);
	background("resize", NULL, resizes);
	tcgetattr(s, &t);
	t.c_lflag |= TOSTOP;
	tcsetattr(s, TCSANOW, &t);
	background("write, TOSTOP", NULL, writes);
	background("write, TOSTOP, ignoring", ignore, writes);
	tcsetpgrp(s, getpgrp());

	CASE("keys");
	SAY("^C: %s", signal_name(foreground_gets("\003")));
	SAY("^\\: %s", signal_name(foreground_gets("\034")));
	SAY("^Z: %s", signal_name(foreground_gets("\032")));
	SAY("size: %s", signal_name(foreground_gets(NULL)));
	number = SIGUSR1;
	ERR(ioctl(m, TIOCSIG, number));

	CASE("flushing by a key");
	tcflush(m, TCIOFLUSH);
	signal(SIGINT, SIG_IGN);
	NEED(write(m, "typed", 5));
	usleep(3000);
	NEED(write(m, "\003kept\n", 6));
	usleep(3000);
	show(s, "input", 200, 100);
	tcflush(m, TCIFLUSH);
	t.c_lflag |= NOFLSH;
	tcsetattr(s, TCSANOW, &t);
	NEED(write(m, "all\003kept\n", 9));
	usleep(3000);
	show(s, "NOFLSH", 200, 100);
	t.c_lflag &= ~(NOFLSH | ISIG);
	tcsetattr(s, TCSANOW, &t);
	NEED(write(m, "\003\032\n", 3));
	usleep(3000);
	show(s, "no ISIG", 200, 100);

	CASE("another session");
	pid_t child = fork();
	if (child == 0) {
		setsid();
		errno = 0;
		int result = ioctl(s, TIOCSCTTY, 0);
		SAY("TIOCSCTTY: %d %s", result, errno_name(errno));
		_exit(0);
	}
	NEED(waitpid(child, NULL, 0));

	CASE("giving it up");
	signal(SIGHUP, note);
	signal(SIGCONT, SIG_IGN);
	ERR(ioctl(s, TIOCNOTTY, 0));
	SAY("signal: %s", signal_name(seen));
	ERR(open("/dev/tty", O_RDWR));
	ERR(tcgetpgrp(s));
	ERR(ioctl(s, TIOCNOTTY, 0));
	ERR(ioctl(s, TIOCSCTTY, 0));
	CHECK(tcgetpgrp(s) == getpgrp());
}

int main(void)
{
	m = open_master();
	s = open_slave(O_NOCTTY);
	pid_t child = NEED(fork());
	if (child == 0) {
		leader();
		_exit(report_failures != 0);
	}
	int status;
	NEED(waitpid(child, &status, 0));
	VAL(status);

	CASE("after the leader");
	pid_t group = 9;
	ERR(ioctl(m, TIOCGPGRP, &group));
	VAL(group);
	pid_t session;
	ERR(ioctl(m, TIOCGSID, &session));
	ERR(ioctl(m, TIOCSPGRP, &group));
	DONE();
}
