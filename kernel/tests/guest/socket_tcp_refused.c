// Connecting where nobody listens: ECONNREFUSED at once, or through poll and SO_ERROR when non-blocking.
// variants: dynamic static-pie musl
#include "report.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static int pending_error(int fd)
{
	int error = -1;
	socklen_t length = sizeof(error);
	NEED(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
	return error;
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int bound = NEED(socket(AF_INET, SOCK_STREAM, 0));
	NEED(bind(bound, (struct sockaddr *)&address, length));
	NEED(getsockname(bound, (struct sockaddr *)&address, &length));
	int fd = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(fd, (struct sockaddr *)&address, length));
	SAY("%s", errno_name(pending_error(fd)));
	CASE("non-blocking");
	fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	int result = connect(fd, (struct sockaddr *)&address, length);
	CHECK(result == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
	struct pollfd entry = { fd, POLLOUT, 0 };
	VAL(poll(&entry, 1, 2000));
	SAY("ERR %d HUP %d", !!(entry.revents & POLLERR), !!(entry.revents & POLLHUP));
	CASE("then somebody listens");
	NEED(listen(bound, 1));
	fd = NEED(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	result = connect(fd, (struct sockaddr *)&address, length);
	CHECK(result == 0 || errno == EINPROGRESS);
	entry.fd = fd;
	VAL(poll(&entry, 1, 2000));
	VAL(entry.revents);
	SAY("%s", errno_name(pending_error(fd)));
	int server = NEED(accept(bound, NULL, NULL));
	char byte;
	ERR(read(fd, &byte, 1));
	NEED(write(server, "x", 1));
	entry.events = POLLIN;
	VAL(poll(&entry, 1, 2000));
	VAL(read(fd, &byte, 1));
	CASE("bad addresses");
	fd = NEED(socket(AF_INET, SOCK_STREAM, 0));
	ERR(connect(fd, (struct sockaddr *)&address, 4));
	address.sin_family = AF_INET6;
	ERR(connect(fd, (struct sockaddr *)&address, length));
	DONE();
}
