// epoll: level and edge trigger, one shot, modify, delete, data returned, its errors.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

static int epoll, pipes[2];

static void look(const char *what)
{
	struct epoll_event events[4];
	int count = epoll_wait(epoll, events, 4, 0);
	SAY("%s: %d", what, count);
	for (int i = 0; i < count; i++)
		SAY("  events %x data %u", events[i].events, events[i].data.u32);
}

static int control(int operation, int fd, unsigned events, unsigned data)
{
	struct epoll_event event = { .events = events, .data.u32 = data };
	return epoll_ctl(epoll, operation, fd, &event);
}

int main(void)
{
	char text[16];
	epoll = NEED(epoll_create1(EPOLL_CLOEXEC));
	VAL(fcntl(epoll, F_GETFD));
	NEED(pipe2(pipes, O_NONBLOCK));
	CASE("level");
	ERR(control(EPOLL_CTL_ADD, pipes[0], EPOLLIN, 1));
	look("empty");
	NEED(write(pipes[1], "abc", 3));
	look("data");
	look("still");
	NEED(read(pipes[0], text, 1));
	look("two left");
	NEED(read(pipes[0], text, 2));
	look("drained");
	CASE("edge");
	ERR(control(EPOLL_CTL_MOD, pipes[0], EPOLLIN | EPOLLET, 2));
	look("empty");
	NEED(write(pipes[1], "abc", 3));
	look("data");
	look("again");
	NEED(write(pipes[1], "d", 1));
	look("more");
	look("again");
	NEED(read(pipes[0], text, 1));
	look("read some");
	ERR(control(EPOLL_CTL_MOD, pipes[0], EPOLLIN | EPOLLET, 3));
	look("modified with data there");
	CASE("one shot");
	ERR(control(EPOLL_CTL_MOD, pipes[0], EPOLLIN | EPOLLONESHOT, 4));
	look("data");
	look("disabled");
	NEED(write(pipes[1], "e", 1));
	look("disabled");
	ERR(control(EPOLL_CTL_MOD, pipes[0], EPOLLIN | EPOLLONESHOT, 5));
	look("armed");
	CASE("both ends and hang-up");
	ERR(control(EPOLL_CTL_MOD, pipes[0], 0, 6));
	ERR(control(EPOLL_CTL_ADD, pipes[1], EPOLLOUT, 7));
	look("writable");
	close(pipes[1]);
	look("writer closed, unasked");
	ERR(control(EPOLL_CTL_DEL, pipes[0], 0, 0));
	look("deleted");
	CASE("errors");
	NEED(pipe(pipes));
	ERR(control(EPOLL_CTL_ADD, pipes[0], EPOLLIN, 1));
	ERR(control(EPOLL_CTL_ADD, pipes[0], EPOLLIN, 1));
	ERR(control(EPOLL_CTL_MOD, pipes[1], EPOLLIN, 1));
	ERR(control(EPOLL_CTL_DEL, pipes[1], EPOLLIN, 1));
	ERR(control(EPOLL_CTL_ADD, 99, EPOLLIN, 1));
	ERR(control(EPOLL_CTL_ADD, epoll, EPOLLIN, 1));
	ERR(control(77, pipes[1], EPOLLIN, 1));
	ERR(control(EPOLL_CTL_ADD, NEED(open("/tmp/file", O_CREAT | O_RDWR, 0600)), EPOLLIN, 1));
	ERR(epoll_ctl(pipes[0], EPOLL_CTL_ADD, pipes[1], &(struct epoll_event){ 0 }));
	ERR(syscall(SYS_epoll_wait, epoll, &(struct epoll_event){ 0 }, 0, 0));
	ERR(epoll_create1(77));
	ERR(syscall(SYS_epoll_create, 0));
	ERR(syscall(SYS_epoll_create, 1));
	DONE();
}
