// Hop limit and traffic class of single datagrams over ::1: values, -1 for the socket's own, and what is no value.
// variants: dynamic static-pie
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int out, in;
static struct sockaddr_in6 address;

static int send_with(int kind, const void *data, size_t size)
{
	char control[64] = { 0 };
	struct iovec part = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = CMSG_SPACE(size) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = IPPROTO_IPV6;
	header->cmsg_type = kind;
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), data, size);
	return sendmsg(out, &message, 0);
}

static void receive(void)
{
	char control[128], byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };
	VAL(recvmsg(in, &message, 0));
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
		int value;
		memcpy(&value, CMSG_DATA(header), sizeof(value));
		SAY("type %d value %d", header->cmsg_type, value);
	}
}

int main(void)
{
	int on = 1, values[] = { 0, 2, 255, 256, -1, -2 };
	socklen_t length = sizeof(address);
	address = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	alarm(20);
	in = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
	out = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&address, sizeof(address)));
	NEED(getsockname(in, (struct sockaddr *)&address, &length));
	NEED(setsockopt(in, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on)));
	NEED(setsockopt(in, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on)));
	for (int i = 1; i < 6; i++) {
		SAY("## hop limit %d", values[i]);
		if (ERR(send_with(IPV6_HOPLIMIT, &values[i], 4)) >= 0)
			receive();
	}
	for (int i = 0; i < 6; i++) {
		if (values[i] == -1)
			continue; // The socket's own by RFC 3542, 255 on some kernels.
		SAY("## traffic class %d", values[i] & ~3);
		int class = values[i] < 0 ? values[i] : values[i] & ~3;
		if (ERR(send_with(IPV6_TCLASS, &class, 4)) >= 0)
			receive();
	}
	CASE("sizes");
	ERR(send_with(IPV6_TCLASS, "\1\0\0\0\0", 5));
	ERR(send_with(IPV6_TCLASS, "\1", 1));
	ERR(send_with(IPV6_HOPLIMIT, "\1", 1));
	DONE();
}
