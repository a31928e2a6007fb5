// SCM_RIGHTS carries descriptors between sockets and processes, SCM_CREDENTIALS and SO_PEERCRED tell who.
#include "report.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

union control {
	struct cmsghdr header;
	char space[256];
};

static long send_fds(int socket, const int *fds, int count)
{
	union control control = { 0 };
	struct iovec vector = { "f", 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * 4) };
	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(count * 4), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), fds, count * 4);
	return sendmsg(socket, &message, 0);
}

static int receive_fds(int socket, int *fds, size_t room, int flags)
{
	union control control = { 0 };
	char byte;
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room };
	if (recvmsg(socket, &message, flags) < 0)
		return -errno;
	if (message.msg_flags & MSG_CTRUNC)
		SAY("control truncated");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return 0;
	int count = (header->cmsg_len - CMSG_LEN(0)) / 4;
	memcpy(fds, CMSG_DATA(header), count * 4);
	return count;
}

int main(void)
{
	int pair[2], fds[8];
	char text[32];
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	int file = NEED(open("/tmp/f", O_CREAT | O_RDWR, 0600));
	NEED(write(file, "contents", 8));
	NEED(lseek(file, 3, SEEK_SET));
	VAL(send_fds(pair[0], (int[]){ file }, 1));
	VAL(receive_fds(pair[1], fds, 256, 0));
	CHECK(fds[0] != file);
	VAL(read(fds[0], text, 32));
	SAY("%.5s", text);
	VAL(lseek(file, 0, SEEK_CUR));
	VAL(fcntl(fds[0], F_GETFD));
	CASE("close on exec, several, truncated");
	VAL(send_fds(pair[0], (int[]){ file, 0, 1 }, 3));
	VAL(receive_fds(pair[1], fds, 256, MSG_CMSG_CLOEXEC));
	VAL(fcntl(fds[2], F_GETFD));
	VAL(send_fds(pair[0], (int[]){ file, file, file }, 3));
	VAL(receive_fds(pair[1], fds, CMSG_SPACE(4), 0) >= 1);
	CASE("a file that only lives in the socket");
	int pipes[2];
	NEED(pipe(pipes));
	VAL(send_fds(pair[0], &pipes[0], 1));
	close(pipes[0]);
	NEED(write(pipes[1], "in flight", 9));
	VAL(receive_fds(pair[1], fds, 256, 0));
	VAL(read(fds[0], text, 32));
	close(fds[0]);
	signal(SIGPIPE, SIG_IGN);
	ERR(write(pipes[1], "x", 1));
	ERR(send_fds(pair[0], (int[]){ 500 }, 1));
	CASE("credentials");
	struct ucred who;
	socklen_t length = sizeof(who);
	NEED(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &length));
	SAY("self %d uid %u gid %u", who.pid == getpid(), who.uid, who.gid);
	int on = 1;
	NEED(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	NEED(write(pair[0], "x", 1));
	union control control = { 0 };
	struct iovec vector = { text, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	VAL(recvmsg(pair[1], &message, 0));
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	CHECK(header && header->cmsg_type == SCM_CREDENTIALS);
	if (header) {
		memcpy(&who, CMSG_DATA(header), sizeof(who));
		SAY("self %d uid %u", who.pid == getpid(), who.uid);
	}
	CASE("to a child");
	static volatile int got;
	pid_t child = vfork();
	if (child == 0) {
		send_fds(pair[1], (int[]){ file }, 1);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	got = receive_fds(pair[0], fds, 256, 0);
	VAL(got);
	DONE();
}
