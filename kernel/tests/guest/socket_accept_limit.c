// At the limit of descriptors, accept(2) and open(2) fail before they have done anything.
#include "report.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	char byte = 0;

	alarm(20);
	int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	NEED(listen(listener, 1));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	int client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(connect(client, (struct sockaddr *)&address, sizeof(address)));
	int spare = NEED(open("/dev/null", O_RDONLY));
	struct rlimit limit = { .rlim_cur = spare + 1, .rlim_max = spare + 1 };
	NEED(setrlimit(RLIMIT_NOFILE, &limit));
	CASE("no number is left");
	ERR(accept(listener, NULL, NULL));
	ERR(open("/tmp/not-made", O_RDWR | O_CREAT, 0600));
	ERR(access("/tmp/not-made", F_OK));
	ERR(socket(AF_INET, SOCK_STREAM, 0));
	CASE("the connection has waited");
	NEED(close(spare));
	int server = NEED(accept(listener, NULL, NULL));
	VAL(write(client, "x", 1));
	VAL(read(server, &byte, 1));
	DONE();
}
