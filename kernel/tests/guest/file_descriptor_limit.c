// A call that makes a descriptor looks for a number first: without one nothing else happens, nothing is truncated or
// made, and no connection leaves the backlog.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static off_t size_of(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 ? info.st_size : -1;
}

static void limit_to(int descriptors)
{
	struct rlimit limit = { descriptors, 4096 };
	NEED(setrlimit(RLIMIT_NOFILE, &limit));
}

int main(void)
{
	int fd = NEED(open("/tmp/kept", O_CREAT | O_WRONLY, 0600));
	NEED(write(fd, "contents", 8));
	close(fd);
	int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	NEED(bind(listener, (struct sockaddr *)&address, length));
	NEED(listen(listener, 4));
	NEED(getsockname(listener, (struct sockaddr *)&address, &length));
	int client = NEED(socket(AF_INET, SOCK_STREAM, 0));
	int highest = client + 1;

	CASE("no number is free");
	limit_to(highest);
	ERR(open("/tmp/kept", O_RDWR | O_TRUNC));
	VAL(size_of("/tmp/kept"));
	ERR(open("/tmp/new", O_RDWR | O_CREAT, 0600));
	VAL(size_of("/tmp/new"));
	ERR(open("/tmp/none/none", O_RDONLY));
	// Nothing waits in the backlog, but the number is looked for first.
	ERR(accept4(listener, NULL, NULL, SOCK_NONBLOCK));

	CASE("a connection stays in the backlog");
	NEED(connect(client, (struct sockaddr *)&address, length));
	NEED(write(client, "x", 1));
	struct pollfd ready = { listener, POLLIN, 0 };
	CHECK(poll(&ready, 1, 2000) == 1);
	ERR(accept(listener, NULL, NULL));
	CHECK(poll(&ready, 1, 0) == 1);
	limit_to(highest + 2);
	int accepted = accept(listener, NULL, NULL);
	CHECK(accepted >= 0);
	char byte = 0;
	CHECK(read(accepted, &byte, 1) == 1 && byte == 'x');

	CASE("the highest number there can be");
	struct rlimit limit = { 4096, (1 << 20) + 1 };
	ERR(setrlimit(RLIMIT_NOFILE, &limit));
	DONE();
}
