// AF_UNIX streams by path and by abstract name: names, refused, in use, removed; shutdown; end of file.
// variants: dynamic static-pie musl
#include "report.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static socklen_t path(struct sockaddr_un *name, const char *text)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(name->sun_path, text);
	return offsetof(struct sockaddr_un, sun_path) + strlen(text) + 1;
}

int main(void)
{
	char text[32];
	struct sockaddr_un name, other;
	struct stat status;
	socklen_t length = path(&name, "/tmp/socket"), other_length = sizeof(other);
	int listener = NEED(socket(AF_UNIX, SOCK_STREAM, 0)), client = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(connect(client, (struct sockaddr *)&name, length));
	ERR(bind(listener, (struct sockaddr *)&name, length));
	NEED(stat("/tmp/socket", &status));
	SAY("mode %o", status.st_mode);
	ERR(connect(client, (struct sockaddr *)&name, length));
	ERR(listen(listener, 5));
	ERR(connect(client, (struct sockaddr *)&name, length));
	int server = NEED(accept(listener, (struct sockaddr *)&other, &other_length));
	SAY("client's name has length %u", other_length);
	other_length = sizeof(other);
	NEED(getpeername(client, (struct sockaddr *)&other, &other_length));
	SAY("%s %u", other.sun_path, other_length);
	NEED(write(client, "hello", 5));
	VAL(read(server, text, 32));
	ERR(bind(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length));
	CASE("shutdown");
	NEED(write(server, "last", 4));
	ERR(shutdown(server, SHUT_WR));
	struct pollfd entry = { client, POLLIN | POLLRDHUP, 0 };
	VAL(poll(&entry, 1, 0));
	VAL(entry.revents & (POLLIN | POLLRDHUP | POLLHUP));
	VAL(read(client, text, 32));
	VAL(read(client, text, 32));
	NEED(write(client, "still", 5));
	VAL(read(server, text, 32));
	ERR(send(server, "x", 1, MSG_NOSIGNAL));
	close(client);
	VAL(read(server, text, 32));
	CASE("closed with unread data");
	int pair[2];
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	NEED(write(pair[0], "unread", 6));
	close(pair[1]);
	ERR(read(pair[0], text, 32));
	ERR(send(pair[0], "x", 1, MSG_NOSIGNAL));
	CASE("abstract");
	memset(&name, 0, sizeof(name));
	name.sun_family = AF_UNIX;
	memcpy(name.sun_path, "\0hidden", 7);
	length = offsetof(struct sockaddr_un, sun_path) + 7;
	listener = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
	ERR(bind(listener, (struct sockaddr *)&name, length));
	ERR(listen(listener, 1));
	ERR(connect(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length));
	ERR(connect(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length - 1));
	close(listener);
	ERR(connect(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length));
	CASE("removed");
	NEED(unlink("/tmp/socket"));
	length = path(&name, "/tmp/socket");
	ERR(connect(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length));
	length = path(&name, "/tmp/no/socket");
	ERR(bind(NEED(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&name, length));
	DONE();
}
