// Waiting to send and to receive messages: wake-ups by type, room, signals, removal.
#include "report.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

static struct text { long type; char text[64]; } m;
static int id;

static pid_t receiver(long type)
{
	pid_t child = fork();
	if (child == 0) {
		ssize_t n = msgrcv(id, &m, sizeof m.text, type, 0);
		_exit(n < 0 ? 100 + errno : n);
	}
	return child;
}

static pid_t sender(size_t length)
{
	pid_t child = fork();
	if (child == 0) {
		m.type = 9;
		_exit(msgsnd(id, &m, length, 0) == 0 ? 0 : 100 + errno);
	}
	return child;
}

static int ended(pid_t child)
{
	int status;
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void put(long type, size_t length)
{
	m.type = type;
	ERR(msgsnd(id, &m, length, 0));
}

static void on_signal(int number)
{
	(void)number;
}

int main(void)
{
	struct msqid_ds ds;
	id = NEED(msgget(IPC_PRIVATE, 0600));

	CASE("by type");
	pid_t two = receiver(2), one = receiver(1);
	usleep(50000);
	put(1, 10);
	VAL(ended(one));
	put(2, 20);
	VAL(ended(two));

	CASE("for room");
	NEED(msgctl(id, IPC_STAT, &ds));
	ds.msg_qbytes = 30;
	NEED(msgctl(id, IPC_SET, &ds));
	put(1, 30);
	pid_t s = sender(5);
	usleep(50000);
	NEED(msgctl(id, IPC_STAT, &ds));
	VAL(ds.msg_qnum);
	VAL(msgrcv(id, &m, sizeof m.text, 0, 0));
	VAL(ended(s));
	VAL(msgrcv(id, &m, sizeof m.text, 0, 0));
	VAL(m.type);

	CASE("room by a larger limit");
	put(1, 30);
	s = sender(30);
	usleep(50000);
	ds.msg_qbytes = 60;
	NEED(msgctl(id, IPC_SET, &ds));
	VAL(ended(s));
	VAL(msgrcv(id, &m, sizeof m.text, 9, 0));
	VAL(msgrcv(id, &m, sizeof m.text, 0, 0));

	CASE("a message that is too long for one who waits");
	pid_t small = fork();
	if (small == 0) {
		ssize_t n = msgrcv(id, &m, 5, 0, 0);
		_exit(n < 0 ? 100 + errno : n);
	}
	usleep(50000);
	put(1, 10);
	CHECK(ended(small) == 100 + E2BIG);
	VAL(msgrcv(id, &m, sizeof m.text, 0, 0));

	CASE("a signal ends the wait, with or without SA_RESTART");
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGUSR1, &action, NULL);
		one = receiver(1);
		usleep(50000);
		kill(one, SIGUSR1);
		CHECK(ended(one) == 100 + EINTR);
	}

	CASE("removal");
	one = receiver(1);
	put(2, 60);
	s = sender(60);
	usleep(50000);
	ERR(msgctl(id, IPC_RMID, NULL));
	CHECK(ended(one) == 100 + EIDRM);
	CHECK(ended(s) == 100 + EIDRM);
	DONE();
}
