// A wild pointer in calls about signals, time, processes, futexes, polling and sockets is EFAULT.
// variants: dynamic static-pie musl
#include "report.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

int main(void)
{
	char *wild = (char *)16;
	int pair[2];
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	int epoll = NEED(epoll_create1(0));
	int udp = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	struct timespec now = { 0, 0 };

	CASE("signals");
	ERR(syscall(SYS_rt_sigaction, SIGUSR1, wild, NULL, 8));
	ERR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, wild, 8));
	ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, wild, NULL, 8));
	ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, wild, 8));
	ERR(syscall(SYS_rt_sigpending, wild, 8));
	ERR(syscall(SYS_sigaltstack, wild, NULL));
	ERR(syscall(SYS_rt_sigtimedwait, wild, NULL, &now, 8));
	CASE("time");
	ERR(syscall(SYS_nanosleep, wild, NULL));
	ERR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, wild));
	ERR(syscall(SYS_gettimeofday, wild, NULL));
	ERR(syscall(SYS_setitimer, 0, wild, NULL));
	CASE("processes");
	ERR(syscall(SYS_wait4, -1, wild, 0, NULL));
	ERR(syscall(SYS_execve, wild, NULL, NULL));
	ERR(syscall(SYS_execve, "/bin/sh", wild, NULL));
	ERR(syscall(SYS_uname, wild));
	ERR(syscall(SYS_sysinfo, wild));
	ERR(syscall(SYS_getrusage, 0, wild));
	ERR(syscall(SYS_prlimit64, 0, 7, NULL, wild));
	ERR(syscall(SYS_getrandom, wild, 16, 0));
	ERR(syscall(SYS_set_robust_list, wild, 24));
	CASE("futex");
	ERR(syscall(SYS_futex, wild, FUTEX_WAIT, 0, NULL, NULL, 0));
	ERR(syscall(SYS_futex, wild, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	ERR(syscall(SYS_futex, wild, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
	CASE("polling");
	ERR(syscall(SYS_poll, wild, 1, 0));
	ERR(syscall(SYS_select, 3, wild, NULL, NULL, NULL));
	ERR(syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, pair[0], wild));
	struct epoll_event event = { .events = EPOLLOUT };
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	ERR(syscall(SYS_epoll_wait, epoll, wild, 1, 0));
	CASE("sockets");
	NEED(write(pair[1], "x", 1));
	ERR(syscall(SYS_recvfrom, pair[0], wild, 10, 0, NULL, NULL));
	ERR(syscall(SYS_sendto, pair[0], wild, 10, 0, NULL, 0));
	ERR(syscall(SYS_bind, udp, wild, 16));
	ERR(syscall(SYS_connect, udp, wild, 16));
	ERR(syscall(SYS_getsockname, udp, wild, wild));
	ERR(syscall(SYS_setsockopt, udp, SOL_SOCKET, SO_RCVBUF, wild, 4));
	ERR(syscall(SYS_getsockopt, udp, SOL_SOCKET, SO_RCVBUF, wild, wild));
	ERR(syscall(SYS_sendmsg, udp, wild, 0));
	ERR(syscall(SYS_recvmsg, udp, wild, MSG_DONTWAIT));
	ERR(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, wild));
	DONE();
}
