// Waiting on POSIX message queues, being told of messages, and the queues as files.
#include "report.h"
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static volatile int told, told_value, told_code, told_pid;
static sem_t threads;

static void on_message(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	told++;
	told_value = info->si_value.sival_int;
	told_code = info->si_code;
	told_pid = info->si_pid;
}

static void on_signal(int number)
{
	(void)number;
}

static void in_thread(union sigval value)
{
	told_value = value.sival_int;
	sem_post(&threads);
}

static char text[100];

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 2, .mq_msgsize = 50 };
	mqd_t q = NEED(mq_open("/w", O_RDWR | O_CREAT, 0600, &a));
	int status;

	CASE("a receiver waits");
	pid_t child = fork();
	if (child == 0) {
		unsigned priority;
		ssize_t n = mq_receive(q, text, sizeof text, &priority);
		_exit(n + priority);
	}
	usleep(30000);
	ERR(mq_send(q, "12345", 5, 10));
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));

	CASE("a sender waits");
	mq_send(q, "a", 1, 0);
	mq_send(q, "b", 1, 0);
	child = fork();
	if (child == 0)
		_exit(mq_send(q, "c", 1, 5));
	usleep(30000);
	VAL(mq_receive(q, text, sizeof text, NULL));
	waitpid(child, &status, 0);
	VAL(status);
	VAL(mq_receive(q, text, sizeof text, NULL));
	SAY("%c", text[0]);
	VAL(mq_receive(q, text, sizeof text, NULL));

	CASE("signals");
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGUSR2, &action, NULL);
		child = fork();
		if (child == 0) {
			ssize_t n = mq_receive(q, text, sizeof text, NULL);
			_exit(n < 0 ? 100 + errno : n);
		}
		usleep(30000);
		kill(child, SIGUSR2);
		usleep(10000);
		if (restart)
			mq_send(q, "xyz", 3, 0);
		waitpid(child, &status, 0);
		VAL(WEXITSTATUS(status));
	}

	CASE("a signal tells of a message");
	struct sigaction action = { .sa_sigaction = on_message, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &action, NULL);
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 4711 };
	ERR(mq_notify(q, &event));
	ERR(mq_notify(q, &event));
	child = fork();
	if (child == 0) {
		ERR(mq_notify(q, &event));
		ERR(mq_notify(q, NULL));
		_exit(mq_send(q, "m", 1, 0));
	}
	waitpid(child, &status, 0);
	VAL(told);
	VAL(told_value);
	VAL(told_code);
	CHECK(told_pid == child);
	mq_send(q, "m", 1, 0);
	VAL(told);
	ERR(mq_notify(q, &event)); // the queue is not empty: nothing is told until it was
	mq_receive(q, text, sizeof text, NULL);
	VAL(told);
	mq_receive(q, text, sizeof text, NULL);
	mq_send(q, "m", 1, 0);
	VAL(told);
	mq_receive(q, text, sizeof text, NULL);
	ERR(mq_notify(q, &event));
	ssize_t n = pread(q, text, sizeof text, 0);
	CHECK(n > 0 && strstr(text, "NOTIFY:0     SIGNO:10 ") != NULL);
	ERR(mq_notify(q, NULL));
	mq_send(q, "m", 1, 0);
	VAL(told);
	mq_receive(q, text, sizeof text, NULL);

	CASE("nothing is told while somebody waits");
	ERR(mq_notify(q, &event));
	child = fork();
	if (child == 0)
		_exit(mq_receive(q, text, sizeof text, NULL));
	usleep(30000);
	mq_send(q, "1", 1, 0);
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	VAL(told);
	event.sigev_signo = 99;
	ERR(mq_notify(q, &event));
	event.sigev_notify = 77;
	ERR(mq_notify(q, &event));
	ERR(mq_notify(q, NULL));

	CASE("a thread is told");
	sem_init(&threads, 0, 0);
	struct sigevent by_thread = { .sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 12 };
	by_thread.sigev_notify_function = in_thread;
	ERR(mq_notify(q, &by_thread));
	mq_send(q, "m", 1, 0);
	sem_wait(&threads);
	VAL(told_value);
	mq_receive(q, text, sizeof text, NULL);

	CASE("epoll");
	int epoll = epoll_create1(0);
	struct epoll_event ready = { .events = EPOLLIN };
	ERR(epoll_ctl(epoll, EPOLL_CTL_ADD, q, &ready));
	VAL(epoll_wait(epoll, &ready, 1, 0));
	child = fork();
	if (child == 0)
		_exit(mq_send(q, "late", 4, 0));
	VAL(epoll_wait(epoll, &ready, 1, 2000));
	waitpid(child, &status, 0);

	CASE("the queues as files");
	NEED(mkdir("/tmp/mq", 0700));
	ERR(mount("none", "/tmp/mq", "mqueue", 0, NULL));
	DIR *directory = opendir("/tmp/mq");
	for (struct dirent *entry; (entry = readdir(directory));)
		if (entry->d_name[0] != '.')
			SAY("%s", entry->d_name);
	closedir(directory);
	struct stat st;
	ERR(stat("/tmp/mq", &st));
	SAY("mode %o", st.st_mode);
	ERR(stat("/tmp/mq/w", &st));
	SAY("mode %o size %d", st.st_mode, (int)st.st_size);
	int fd = NEED(open("/tmp/mq/w", O_RDONLY));
	n = read(fd, text, sizeof text);
	SAY("%.*s", (int)n - 1, text);
	ERR(chmod("/tmp/mq/w", 0400));
	ERR(mkdir("/tmp/mq/d", 0700));
	close(fd);
	fd = NEED(open("/tmp/mq/made", O_RDWR | O_CREAT, 0600));
	mqd_t made = NEED(mq_open("/made", O_RDWR));
	ERR(mq_getattr(made, &a));
	SAY("%ld of %ld", a.mq_maxmsg, a.mq_msgsize);
	ERR(unlink("/tmp/mq/made"));
	ERR(mq_open("/made", O_RDWR));
	ERR(unlink("/tmp/mq/w"));
	ERR(access("/tmp/mq/w", F_OK));
	close(fd);
	ERR(umount("/tmp/mq"));
	DONE();
}
