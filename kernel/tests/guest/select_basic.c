// select: the three sets, what is left in them, timeouts and how they are returned, bad descriptors.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>

int main(void)
{
	int one[2], two[2];
	fd_set reading, writing;
	NEED(pipe(one));
	NEED(pipe(two));
	NEED(write(two[1], "x", 1));
	FD_ZERO(&reading);
	FD_ZERO(&writing);
	FD_SET(one[0], &reading);
	FD_SET(two[0], &reading);
	FD_SET(one[1], &writing);
	struct timeval limit = { 5, 0 };
	VAL(select(two[1] + 1, &reading, &writing, NULL, &limit));
	SAY("%d %d %d", !!FD_ISSET(one[0], &reading), !!FD_ISSET(two[0], &reading), !!FD_ISSET(one[1], &writing));
	CASE("timeout");
	FD_ZERO(&reading);
	FD_SET(one[0], &reading);
	limit = (struct timeval){ 0, 20000 };
	VAL(syscall(SYS_select, one[0] + 1, &reading, NULL, NULL, &limit));
	SAY("%d", !!FD_ISSET(one[0], &reading));
	CHECK(limit.tv_sec == 0 && limit.tv_usec == 0);
	limit = (struct timeval){ 0, 0 };
	VAL(select(0, NULL, NULL, NULL, &limit));
	CASE("errors");
	FD_ZERO(&reading);
	FD_SET(50, &reading);
	ERR(select(51, &reading, NULL, NULL, &limit));
	ERR(select(-1, NULL, NULL, NULL, &limit));
	limit = (struct timeval){ -1, 0 };
	ERR(syscall(SYS_select, 0, NULL, NULL, NULL, &limit));
	DONE();
}
