// Ancillary data that chooses source, time to live and type of service of one datagram (ip(7)).
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct sockaddr_in at(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, host, &address.sin_addr);
	return address;
}

static long send_with(int fd, struct sockaddr_in to, int level, int type, const void *data, size_t len)
{
	union {
		char bytes[CMSG_SPACE(64)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { "choice", 6 };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = CMSG_SPACE(len) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = level;
	header->cmsg_type = type;
	header->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(header), data, len);
	return sendmsg(fd, &message, 0);
}

static void receive(int fd)
{
	char bytes[64], control[256], text[64];
	struct sockaddr_in from;
	struct iovec part = { bytes, sizeof(bytes) };
	struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control) };
	VAL(recvmsg(fd, &message, MSG_DONTWAIT));
	SAY("from %s", inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text)));
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
		if (h->cmsg_type == IP_TTL)
			SAY("ttl %d", *(int *)CMSG_DATA(h));
		if (h->cmsg_type == IP_TOS)
			SAY("tos %d", *CMSG_DATA(h));
		if (h->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(h);
			SAY("interface %d to %s", info->ipi_ifindex, inet_ntop(AF_INET, &info->ipi_addr, text, sizeof(text)));
		}
	}
}

int main(void)
{
	int on = 1, value;
	struct sockaddr_in to = at("127.0.0.1", 7221);
	int in = NEED(socket(AF_INET, SOCK_DGRAM, 0)), out = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&to, sizeof(to)));
	NEED(setsockopt(in, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
	NEED(setsockopt(in, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)));
	NEED(setsockopt(in, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)));
	CASE("a source of ours");
	struct in_pktinfo info = { .ipi_spec_dst = at("127.0.0.3", 0).sin_addr };
	VAL(send_with(out, to, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)));
	receive(in);
	CASE("an interface");
	info = (struct in_pktinfo){ .ipi_ifindex = 1 };
	VAL(send_with(out, to, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)));
	receive(in);
	CASE("time to live, type of service");
	VAL(send_with(out, to, IPPROTO_IP, IP_TTL, (value = 9, &value), sizeof(value)));
	receive(in);
	VAL(send_with(out, to, IPPROTO_IP, IP_TOS, (value = IPTOS_LOWDELAY, &value), sizeof(value)));
	receive(in);
	CASE("the socket's own stay");
	VAL(sendto(out, "plain", 5, 0, (struct sockaddr *)&to, sizeof(to)));
	receive(in);
	CASE("refused");
	info = (struct in_pktinfo){ .ipi_spec_dst = at("192.0.2.1", 0).sin_addr };
	ERR(send_with(out, to, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)));
	ERR(send_with(out, to, IPPROTO_IP, IP_PKTINFO, &info, 8));
	ERR(send_with(out, to, IPPROTO_IP, IP_TTL, (value = 0, &value), sizeof(value)));
	ERR(send_with(out, to, IPPROTO_IP, IP_TTL, (value = 256, &value), sizeof(value)));
	ERR(send_with(out, to, IPPROTO_IP, 4711, &value, sizeof(value)));
	ERR(send_with(out, to, SOL_SOCKET, 4711, &value, sizeof(value)));
	CASE("of other levels nobody looks");
	VAL(send_with(out, to, 4711, 1, &value, sizeof(value)));
	DONE();
}
