// The C library's look-ups that need no network: hosts file, numeric addresses, service numbers, user names.
// variants: dynamic musl
#include "report.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>

int main(void)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found = NULL;
	int error = getaddrinfo("localhost", "80", &hints, &found);
	VAL(error);
	if (!error) {
		struct sockaddr_in *address = (struct sockaddr_in *)found->ai_addr;
		SAY("%s %d", inet_ntoa(address->sin_addr), ntohs(address->sin_port));
		freeaddrinfo(found);
	}
	hints.ai_flags = AI_NUMERICHOST;
	VAL(getaddrinfo("192.0.2.7", "8080", &hints, &found));
	VAL(getaddrinfo("not a number", "80", &hints, &found) != 0);
	struct passwd *entry = getpwnam("root");
	SAY("%s %d %s", entry ? entry->pw_dir : "none", entry ? (int)entry->pw_uid : -1, entry ? entry->pw_shell : "none");
	CHECK(getpwnam("nobody at all") == NULL);
	DONE();
}
