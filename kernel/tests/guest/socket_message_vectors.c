// sendmsg and recvmsg: vectors, names, truncation flags; sendmmsg and recvmmsg with several messages and a time-out.
#include "report.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

int main(void)
{
	char a[4], b[8], text[8][16];
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from, own;
	socklen_t length = sizeof(address);
	int in = NEED(socket(AF_INET, SOCK_DGRAM, 0)), out = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&address, length));
	own = address;
	NEED(bind(out, (struct sockaddr *)&own, length));
	NEED(getsockname(in, (struct sockaddr *)&address, &length));
	NEED(getsockname(out, (struct sockaddr *)&own, &length));
	struct iovec sending[3] = { { "one", 3 }, { "", 0 }, { " two three", 10 } };
	struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = sending, .msg_iovlen = 3 };
	VAL(sendmsg(out, &message, 0));
	struct iovec receiving[2] = { { a, 4 }, { b, 8 } };
	message = (struct msghdr){ .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = receiving, .msg_iovlen = 2 };
	VAL(recvmsg(in, &message, 0));
	SAY("%.4s|%.8s truncated %d", a, b, !!(message.msg_flags & MSG_TRUNC));
	CHECK(from.sin_port == own.sin_port && message.msg_namelen == sizeof(from));
	message.msg_iovlen = 2000;
	ERR(recvmsg(in, &message, MSG_DONTWAIT));
	CASE("many");
	struct mmsghdr many[5];
	struct iovec vectors[5];
	memset(many, 0, sizeof(many));
	for (int i = 0; i < 5; i++) {
		snprintf(text[i], 16, "message %d", i);
		vectors[i] = (struct iovec){ text[i], 9 + i };
		many[i].msg_hdr = (struct msghdr){ .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &vectors[i],
						   .msg_iovlen = 1 };
	}
	VAL(sendmmsg(out, many, 5, 0));
	for (int i = 0; i < 5; i++)
		SAY("sent %u", many[i].msg_len);
	memset(text, 0, sizeof(text));
	for (int i = 0; i < 5; i++) {
		vectors[i].iov_len = 16;
		many[i].msg_hdr.msg_name = NULL;
		many[i].msg_hdr.msg_namelen = 0;
	}
	VAL(recvmmsg(in, many, 3, 0, NULL));
	VAL(recvmmsg(in, many + 3, 2, MSG_WAITFORONE, NULL));
	for (int i = 0; i < 5; i++)
		SAY("received %u %s", many[i].msg_len, text[i]);
	ERR(recvmmsg(in, many, 5, MSG_DONTWAIT, NULL));
	DONE();
}
