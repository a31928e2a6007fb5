// Hang-ups: what the slave's holders see when the master closes, who gets SIGHUP and when, vhangup, exclusive use.
#include "terminal.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void wait_for_foreground(int m, pid_t group)
{
	pid_t now = 0;
	for (int i = 0; i < 1000 && (ioctl(m, TIOCGPGRP, &now) != 0 || now != group); i++)
		usleep(1000);
}

static void say_end(const char *who, pid_t child)
{
	int status;
	NEED(waitpid(child, &status, 0));
	if (WIFSIGNALED(status))
		SAY("%s: killed by %s", who, signal_name(WTERMSIG(status)));
	else
		SAY("%s: exited with %d", who, WEXITSTATUS(status));
}

static void pending_input(void)
{
	CASE("unread input goes");
	int m = open_master(), s = open_slave(O_NOCTTY);
	char byte;
	NEED(write(m, "unread\n", 7));
	NEED(write(s, "unread", 6));
	close(m);
	VAL(read(s, &byte, 1));
	ERR(write(s, "x", 1));
	struct termios t;
	ERR(tcgetattr(s, &t));
	ERR(tcsetpgrp(s, getpgrp()));
	struct pollfd p = { s, POLLIN | POLLOUT, 0 };
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	ERR(open(pair_name, O_RDWR | O_NOCTTY));
	CHECK(!isatty(s));
	close(s);
}

static void blocked(void)
{
	CASE("blocked calls end");
	int m = open_master(), s = open_slave(O_NOCTTY);
	pid_t reader = NEED(fork());
	if (reader == 0) {
		char byte;
		close(m);
		_exit(read(s, &byte, 1));
	}
	pid_t writer = NEED(fork());
	if (writer == 0) {
		static char many[1 << 17];
		close(m);
		signal(SIGHUP, SIG_IGN);
		ssize_t n = write(s, many, sizeof many);
		_exit(n > 0 && n < (ssize_t)sizeof many ? 1 : n == -1 && errno == EIO ? 2 : 3);
	}
	usleep(100000);
	close(m);
	say_end("reader", reader);
	int status;
	NEED(waitpid(writer, &status, 0));
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 2));
	close(s);
}

static void orders(void)
{
	CASE("the leader first, its job when it ends");
	int m = open_master(), p[2];
	NEED(pipe(p));
	pid_t leader = NEED(fork());
	if (leader == 0) {
		setsid();
		int s = open_slave(0);
		close(m);
		pid_t job = fork();
		if (job == 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(s, getpid());
			signal(SIGHUP, SIG_DFL);
			for (;;)
				pause();
		}
		setpgid(job, job);
		sigset_t hup;
		sigemptyset(&hup);
		sigaddset(&hup, SIGHUP);
		sigprocmask(SIG_BLOCK, &hup, NULL);
		write(p[1], &job, sizeof job);
		int number;
		sigwait(&hup, &number);
		usleep(20000);
		int status;
		pid_t ended = waitpid(job, &status, WNOHANG);
		char text[80];
		snprintf(text, sizeof text, "leader got %s, job ended %d\n", signal_name(number), ended == job);
		write(1, text, strlen(text));
		write(1, open("/dev/tty", O_RDWR) == -1 && errno == ENXIO ? "no terminal\n" : "a terminal?\n", 12);
		_exit(7);
	}
	pid_t job;
	NEED(read(p[0], &job, sizeof job));
	wait_for_foreground(m, job);
	close(m);
	say_end("leader", leader);
	for (int i = 0; i < 1000 && kill(job, 0) == 0; i++)
		usleep(1000);
	ERR(kill(job, 0));
}

static void leader_ends(void)
{
	CASE("the leader ends by itself");
	int m = open_master(), p[2];
	NEED(pipe(p));
	pid_t leader = NEED(fork());
	if (leader == 0) {
		setsid();
		int s = open_slave(0);
		close(m);
		if (fork() == 0) {
			sigset_t hup;
			sigemptyset(&hup);
			sigaddset(&hup, SIGHUP);
			sigprocmask(SIG_BLOCK, &hup, NULL);
			write(p[1], "r", 1);
			int number;
			sigwait(&hup, &number);
			int tty = open("/dev/tty", O_RDWR);
			ssize_t n = write(s, "still", 5);
			SAY("job got %s, /dev/tty %s, wrote %zd", signal_name(number), tty == -1 ? errno_name(errno) : "there", n);
			write(p[1], "d", 1);
			_exit(0);
		}
		pause();
	}
	char byte;
	NEED(read(p[0], &byte, 1));
	kill(leader, SIGKILL);
	NEED(read(p[0], &byte, 1));
	say_end("leader", leader);
	show(m, "master", 200, 300);
	show(m, "master", 200, 300);
	close(m);
}

static void virtual_hangup(void)
{
	CASE("TIOCVHANGUP");
	int m = open_master(), s = open_slave(O_NOCTTY);
	char byte;
	ERR(ioctl(s, TIOCVHANGUP));
	VAL(read(s, &byte, 1));
	ERR(write(s, "x", 1));
	int again = open_slave(O_NOCTTY);
	NEED(write(again, "alive", 5));
	show(m, "master", 200, 300);
	close(s);
	NEED(write(again, "still", 5));
	show(m, "master", 200, 300);
	close(again);
	show(m, "master", 200, 300);
	close(m);
}

static void exclusive(void)
{
	CASE("exclusive use");
	int m = open_master(), s = open_slave(O_NOCTTY), on = -1;
	ERR(ioctl(s, TIOCEXCL));
	ERR(ioctl(s, TIOCGEXCL, &on));
	VAL(on);
	int other = open_slave(O_NOCTTY);
	close(other);
	pid_t child = NEED(fork());
	if (child == 0) {
		if (chmod(pair_name, 0666) == 0 && setuid(1000) == 0)
			ERR(open(pair_name, O_RDWR | O_NOCTTY));
		_exit(0);
	}
	NEED(waitpid(child, NULL, 0));
	ERR(ioctl(s, TIOCNXCL));
	close(s);
	close(m);
}

int main(void)
{
	pending_input();
	blocked();
	orders();
	leader_ends();
	virtual_hangup();
	exclusive();
	DONE();
}
