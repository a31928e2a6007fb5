// inotify: its calls and their errors, masks, one-shot watches, merging, reading in parts, readiness, limits.
#include "report.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int in;

static void drain(const char *what)
{
	static char buffer[8192] __attribute__((aligned(8)));
	SAY("-- %s", what);
	for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
		for (char *p = buffer; p < buffer + n;) {
			struct inotify_event *e = (void *)p;
			SAY("%d %#x %u %s", e->wd, e->mask, e->len, e->len ? e->name : "");
			p += sizeof *e + e->len;
		}
}

static void make(const char *name)
{
	close(NEED(open(name, O_WRONLY | O_CREAT, 0644)));
}

int main(void)
{
	NEED(chdir("/tmp"));
	NEED(mkdir("d", 0755));
	make("d/f");
	NEED(symlink("d", "link"));

	CASE("errors");
	ERR(inotify_init1(IN_NONBLOCK | 1));
	in = NEED(inotify_init1(IN_NONBLOCK));
	ERR(inotify_add_watch(in, "d", 0));
	ERR(inotify_add_watch(in, "d", 0x10000));
	ERR(inotify_add_watch(in, "none", IN_OPEN));
	ERR(inotify_add_watch(in, "", IN_OPEN));
	ERR(inotify_add_watch(99, "d", IN_OPEN));
	ERR(inotify_add_watch(0, "d", IN_OPEN));
	ERR(inotify_add_watch(in, "d/f", IN_OPEN | IN_ONLYDIR));
	ERR(inotify_add_watch(in, "link", IN_OPEN | IN_ONLYDIR | IN_DONT_FOLLOW));
	ERR(inotify_add_watch(in, "d", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE));
	ERR(inotify_add_watch(in, (char *)8, IN_OPEN));
	ERR(inotify_rm_watch(in, 1));
	ERR(inotify_rm_watch(0, 1));
	ERR(inotify_rm_watch(99, 1));
	ERR(write(in, "x", 1));
	ERR(lseek(in, 0, SEEK_SET));
	VAL(fcntl(in, F_GETFL));
	char text[80] = "";
	snprintf(text, sizeof text, "/proc/self/fd/%d", in);
	char target[80] = "";
	NEED(readlink(text, target, sizeof target - 1));
	SAY("%s", target);
	pid_t child = NEED(fork());
	if (child == 0) {
		mkdir("secret", 0300);
		chown("secret", 1000, 1000);
		setuid(1000);
		ERR(inotify_add_watch(in, "secret", IN_OPEN));
		_exit(0);
	}
	NEED(waitpid(child, NULL, 0));

	CASE("numbers and masks");
	VAL(inotify_add_watch(in, "d", IN_CREATE));
	VAL(inotify_add_watch(in, "link", IN_DELETE | IN_MASK_ADD));
	VAL(inotify_add_watch(in, "d/f", IN_OPEN));
	ERR(inotify_add_watch(in, "d", IN_OPEN | IN_MASK_CREATE));
	VAL(inotify_add_watch(in, "link", IN_OPEN | IN_DONT_FOLLOW | IN_MASK_CREATE));
	make("d/g");
	unlink("d/g");
	drain("create and delete");
	VAL(inotify_add_watch(in, "d", IN_CLOSE_WRITE));
	make("d/g");
	drain("close only");
	VAL(inotify_rm_watch(in, 1));
	make("d/g");
	drain("removed");
	VAL(inotify_add_watch(in, "d", IN_CREATE | IN_ONESHOT));
	make("d/h");
	make("d/i");
	drain("one shot");
	VAL(inotify_add_watch(in, "d", IN_CREATE | IN_ONLYDIR));

	CASE("names and padding");
	make("d/fifteen-letters");
	make("d/sixteen-letters!");
	int waiting = 0;
	ERR(ioctl(in, FIONREAD, &waiting));
	VAL(waiting);
	char small[48];
	ERR(read(in, small, 31));
	VAL(read(in, small, sizeof small));
	VAL(read(in, small, sizeof small));
	ERR(read(in, small, sizeof small));
	ERR(ioctl(in, FIONREAD, &waiting));
	VAL(waiting);

	CASE("merging");
	VAL(inotify_add_watch(in, "d", IN_MODIFY | IN_ATTRIB));
	int f = NEED(open("d/f", O_WRONLY)), g = NEED(open("d/g", O_WRONLY));
	drain("opened");
	for (int i = 0; i < 3; i++)
		NEED(write(f, "x", 1));
	NEED(write(g, "x", 1));
	NEED(write(f, "x", 1));
	NEED(write(f, "x", 1));
	NEED(fchmod(f, 0600));
	NEED(write(f, "x", 1));
	drain("written");

	CASE("after the name is gone");
	NEED(unlink("d/f"));
	drain("unlinked");
	NEED(write(f, "x", 1));
	drain("written, unlinked");
	VAL(inotify_add_watch(in, "d", IN_MODIFY | IN_EXCL_UNLINK));
	NEED(write(f, "y", 1));
	NEED(write(g, "y", 1));
	drain("IN_EXCL_UNLINK");
	close(f);
	drain("closed");

	CASE("readiness");
	struct pollfd p = { in, POLLIN | POLLOUT, 0 };
	VAL(poll(&p, 1, 0));
	int e = NEED(epoll_create1(0));
	struct epoll_event interest = { .events = EPOLLIN };
	ERR(epoll_ctl(e, EPOLL_CTL_ADD, in, &interest));
	VAL(epoll_wait(e, &interest, 1, 0));
	NEED(write(g, "z", 1));
	VAL(poll(&p, 1, 0));
	VAL(p.revents);
	VAL(epoll_wait(e, &interest, 1, 0));
	drain("ready");
	NEED(fcntl(in, F_SETFL, 0));
	child = NEED(fork());
	if (child == 0) {
		usleep(30000);
		NEED(write(g, "z", 1));
		_exit(0);
	}
	VAL(read(in, small, sizeof small));
	NEED(waitpid(child, NULL, 0));
	NEED(fcntl(in, F_SETFL, O_NONBLOCK));

	CASE("limits");
	int in2 = NEED(inotify_init1(IN_NONBLOCK));
	NEED(inotify_add_watch(in2, "d", IN_MODIFY));
	close(in);
	in = in2;
	f = NEED(open("d/h", O_WRONLY));
	for (int i = 0; i < 10000; i++) {
		NEED(pwrite(f, "x", 1, 0));
		NEED(pwrite(g, "x", 1, 0));
	}
	int events = 0, last = 0;
	static char buffer[32000] __attribute__((aligned(8)));
	for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
		for (char *at = buffer; at < buffer + n; events++) {
			struct inotify_event *event = (void *)at;
			last = event->mask;
			if (event->mask & IN_Q_OVERFLOW)
				SAY("overflow: wd %d, len %u", event->wd, event->len);
			at += sizeof *event + event->len;
		}
	VAL(events);
	VAL(last);
	NEED(pwrite(f, "x", 1, 0));
	drain("room again");
	static int many[1000];
	int count = 0;
	while (count < 1000 && (many[count] = inotify_init()) >= 0)
		count++;
	SAY("%s", errno_name(errno));
	CHECK(count < 128);
	while (count > 0)
		close(many[--count]);
	in2 = NEED(inotify_init());
	close(in2);

	CASE("fanotify");
	long fan = syscall(SYS_fanotify_init, 0, 0);
	CHECK(fan >= 0 || errno == ENOSYS || errno == EPERM);
	DONE();
}
