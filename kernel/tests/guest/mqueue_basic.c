// POSIX message queues: names, attributes, priorities, limits, and what each call refuses.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static char text[100];

static void get(mqd_t q, size_t room)
{
	unsigned priority = 99;
	ssize_t n = mq_receive(q, text, room, &priority);
	if (n < 0)
		SAY("%s", errno_name(errno));
	else
		SAY("%.*s, priority %u", (int)n, text, priority);
}

static void attributes(mqd_t q)
{
	struct mq_attr a;
	ERR(mq_getattr(q, &a));
	SAY("flags %lo, %ld messages of %ld, holds %ld", a.mq_flags, a.mq_maxmsg, a.mq_msgsize, a.mq_curmsgs);
}

static void readiness(mqd_t q)
{
	struct pollfd p = { .fd = q, .events = POLLIN | POLLOUT };
	poll(&p, 1, 0);
	SAY("ready %x", p.revents);
}

int main(void)
{
	struct mq_attr a = { .mq_maxmsg = 3, .mq_msgsize = 20 }, old;

	CASE("names");
	ERR(mq_open("/none", O_RDWR));
	ERR(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL));
	ERR(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
	char name[300];
	memset(name, 'x', sizeof name);
	name[256] = 0;
	ERR(syscall(SYS_mq_open, name, O_RDWR | O_CREAT, 0600, NULL));
	ERR(syscall(SYS_mq_open, (char *)8, O_RDWR | O_CREAT, 0600, NULL));
	ERR(mq_unlink("/none"));
	mqd_t q = NEED(mq_open("/q", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0640, &a));
	ERR(mq_open("/q", O_RDWR | O_CREAT | O_EXCL, 0640, &a));
	VAL(fcntl(q, F_GETFD));
	struct stat st;
	ERR(fstat(q, &st));
	SAY("mode %o, size %d", st.st_mode, (int)st.st_size);

	CASE("attributes");
	attributes(q);
	a.mq_flags = 0;
	ERR(mq_setattr(q, &a, &old));
	attributes(q);
	SAY("flags were %lo", old.mq_flags);
	a.mq_flags = O_NONBLOCK;
	ERR(mq_setattr(q, &a, NULL));
	a.mq_flags = O_APPEND;
	ERR(mq_setattr(q, &a, NULL));
	a.mq_maxmsg = 0;
	ERR(mq_open("/bad", O_RDWR | O_CREAT, 0600, &a));
	a.mq_maxmsg = -1;
	ERR(mq_open("/bad", O_RDWR | O_CREAT, 0600, &a));
	a.mq_maxmsg = 1;
	a.mq_msgsize = 1L << 40;
	ERR(mq_open("/bad", O_RDWR | O_CREAT, 0600, &a));
	mqd_t plain = NEED(mq_open("/plain", O_RDONLY | O_CREAT, 0600, NULL));
	attributes(plain);

	CASE("priorities");
	readiness(q);
	get(q, 20);
	ERR(mq_send(q, "low", 3, 1));
	ERR(mq_send(q, "high", 4, 32767));
	ERR(mq_send(q, "low too", 7, 1));
	readiness(q);
	ERR(mq_send(q, "too many", 8, 0));
	get(q, 19);
	get(q, 20);
	get(q, 100);
	attributes(q);
	ERR(mq_send(q, "", 0, 0));
	get(q, 20);
	get(q, 20);

	CASE("refusals");
	ERR(mq_send(q, text, 21, 0));
	ERR(mq_send(q, text, 1, 32768));
	ERR(mq_send(q, (char *)8, 1, 0));
	ERR(mq_send(plain, text, 1, 0));
	ERR(mq_send(1, text, 1, 0));
	ERR(mq_send(999, text, 1, 0));
	mqd_t writer = NEED(mq_open("/q", O_WRONLY));
	ERR(mq_receive(writer, text, 20, NULL));
	attributes(writer);
	ERR(write(q, "x", 1));
	ERR(mq_getattr(0, &a));

	CASE("timeouts");
	struct timespec past = { 1, 0 }, bad = { 1, 1000000000 }, soon;
	ERR(mq_timedreceive(plain, text, 8192, NULL, &past));
	ERR(mq_timedreceive(plain, text, 8192, NULL, &bad));
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	ERR(mq_timedreceive(plain, text, 8192, NULL, &soon));
	for (int i = 0; i < 3; i++)
		ERR(mq_timedsend(writer, "fill", 4, i, &past));
	ERR(mq_timedsend(writer, "fill", 4, 0, &past));

	CASE("the state as text");
	ssize_t n = pread(q, text, sizeof text, 0);
	SAY("%.*s", (int)n - 1, text);

	CASE("names and descriptions");
	ERR(mq_unlink("/q"));
	ERR(mq_open("/q", O_RDONLY));
	get(q, 20);
	ERR(mq_close(q));
	ERR(mq_close(q));
	a.mq_maxmsg = a.mq_msgsize = 1;
	q = NEED(mq_open("/q", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &a));
	get(q, 20);
	pid_t child = fork();
	if (child == 0) {
		NEED(setuid(1000));
		ERR(mq_open("/q", O_RDONLY));
		ERR(mq_unlink("/q"));
		a.mq_maxmsg = 11;
		ERR(mq_open("/mine", O_RDWR | O_CREAT, 0600, &a));
		a.mq_maxmsg = 10;
		a.mq_msgsize = 8193;
		ERR(mq_open("/mine", O_RDWR | O_CREAT, 0600, &a));
		ERR(mq_send(q, "m", 1, 3));
		_exit(0);
	}
	waitpid(child, NULL, 0);
	get(q, 20);
	ERR(mq_unlink("/q"));
	ERR(mq_unlink("/plain"));
	DONE();
}
