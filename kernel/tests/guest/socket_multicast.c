// Multicast groups on loopback: joined, heard, left (ip(7)).
#include "report.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct sockaddr_in at(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, host, &address.sin_addr);
	return address;
}

static void hear(int fd)
{
	char text[16] = "";
	ssize_t got = recv(fd, text, sizeof(text), MSG_DONTWAIT);
	SAY("%s", got < 0 ? errno_name(errno) : text);
}

int main(void)
{
	struct ip_mreqn group = { .imr_multiaddr = at("239.1.2.3", 0).sin_addr, .imr_address = at("127.0.0.1", 0).sin_addr };
	struct ip_mreqn other = { .imr_multiaddr = at("239.1.2.4", 0).sin_addr, .imr_ifindex = if_nametoindex("lo") };
	struct sockaddr_in to = at("239.1.2.3", 7401), any = at("0.0.0.0", 7401), to_other = at("239.1.2.4", 7401);
	int off = 0, value = -1;
	socklen_t length = sizeof(value);
	int in = NEED(socket(AF_INET, SOCK_DGRAM, 0)), out = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&any, sizeof(any)));
	CASE("options");
	ERR(getsockopt(out, IPPROTO_IP, IP_MULTICAST_LOOP, &value, &length));
	VAL(value);
	ERR(getsockopt(out, IPPROTO_IP, IP_MULTICAST_ALL, &value, &length));
	VAL(value);
	ERR(setsockopt(out, IPPROTO_IP, IP_MULTICAST_ALL, (value = 2, &value), sizeof(value)));
	ERR(setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &group.imr_address, sizeof(group.imr_address)));
	CASE("not a member");
	VAL(sendto(out, "early", 5, 0, (struct sockaddr *)&to, sizeof(to)));
	hear(in);
	ERR(setsockopt(in, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(struct ip_mreq)));
	CASE("a member");
	ERR(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(struct ip_mreq)));
	ERR(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
	VAL(sendto(out, "group", 5, 0, (struct sockaddr *)&to, sizeof(to)));
	hear(in);
	hear(in);
	CASE("other people's groups");
	ERR(setsockopt(out, IPPROTO_IP, IP_ADD_MEMBERSHIP, &other, sizeof(other)));
	VAL(sendto(out, "other", 5, 0, (struct sockaddr *)&to_other, sizeof(to_other)));
	hear(in);
	ERR(setsockopt(in, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off)));
	VAL(sendto(out, "other", 5, 0, (struct sockaddr *)&to_other, sizeof(to_other)));
	hear(in);
	VAL(sendto(out, "own", 3, 0, (struct sockaddr *)&to, sizeof(to)));
	hear(in);
	CASE("left");
	ERR(setsockopt(in, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)));
	VAL(sendto(out, "late", 4, 0, (struct sockaddr *)&to, sizeof(to)));
	hear(in);
	CASE("by number");
	struct group_req request = { .gr_interface = other.imr_ifindex };
	memcpy(&request.gr_group, &to, sizeof(to));
	ERR(setsockopt(in, IPPROTO_IP, MCAST_JOIN_GROUP, &request, sizeof(request)));
	VAL(sendto(out, "again", 5, 0, (struct sockaddr *)&to, sizeof(to)));
	hear(in);
	ERR(setsockopt(in, IPPROTO_IP, MCAST_LEAVE_GROUP, &request, sizeof(request)));
	ERR(setsockopt(in, IPPROTO_IP, MCAST_LEAVE_GROUP, &request, sizeof(request)));
	ERR(setsockopt(in, IPPROTO_IP, MCAST_JOIN_GROUP, &request, 20));
	CASE("refused");
	struct ip_mreqn wrong = group;
	wrong.imr_multiaddr.s_addr = htonl(0x7f000001);
	ERR(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wrong, sizeof(wrong)));
	wrong = group;
	wrong.imr_ifindex = 4711;
	ERR(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wrong, sizeof(wrong)));
	ERR(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, 4));
	int stream = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(setsockopt(stream, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
	DONE();
}
