// Raw sockets whose packets begin with an IP header of the program's own (raw(7), IP_HDRINCL).
#include "report.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

struct packet {
	struct iphdr ip;
	unsigned short source, destination, length, checksum;
	char text[4];
} __attribute__((packed));

static void receive(int fd)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	char text[16] = "", host[32];
	VAL(recvfrom(fd, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &length));
	SAY("%.4s from %s:%d", text, inet_ntop(AF_INET, &from.sin_addr, host, sizeof(host)), ntohs(from.sin_port));
}

int main(void)
{
	int on = 1, off = 0, value = -1;
	socklen_t length = sizeof(value);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(7241) };
	struct packet packet = { .ip = { .version = 4, .ihl = 5, .ttl = 7, .protocol = IPPROTO_UDP,
		.daddr = htonl(INADDR_LOOPBACK), .saddr = htonl(0x7f000009), .tot_len = 4711, .check = 1 },
		.source = htons(4242), .destination = htons(7241), .length = htons(12), .text = "mine" };
	int in = NEED(socket(AF_INET, SOCK_DGRAM, 0));
	NEED(bind(in, (struct sockaddr *)&to, sizeof(to)));
	CASE("IPPROTO_RAW has it from the start");
	int raw = NEED(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
	ERR(getsockopt(raw, IPPROTO_IP, IP_HDRINCL, &value, &length));
	VAL(value);
	VAL(sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)));
	receive(in);
	CASE("the source is filled in");
	packet.ip.saddr = 0;
	VAL(sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)));
	receive(in);
	CASE("other protocols have it when asked");
	raw = NEED(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
	ERR(getsockopt(raw, IPPROTO_IP, IP_HDRINCL, &value, &length));
	VAL(value);
	ERR(setsockopt(raw, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)));
	VAL(sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)));
	receive(in);
	ERR(setsockopt(raw, IPPROTO_IP, IP_HDRINCL, &off, sizeof(off)));
	VAL(sendto(raw, &packet.source, 12, 0, (struct sockaddr *)&to, sizeof(to)));
	receive(in);
	CASE("no header");
	ERR(setsockopt(raw, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)));
	ERR(sendto(raw, &packet, 19, 0, (struct sockaddr *)&to, sizeof(to)));
	packet.ip.ihl = 15;
	ERR(sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)));
	CASE("raw sockets only");
	ERR(setsockopt(in, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)));
	DONE();
}
