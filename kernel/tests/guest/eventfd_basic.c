// eventfd: sums, semaphore mode, overflow, wrong sizes, polling.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>

int main(void)
{
	uint64_t value = 5;
	int fd = NEED(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
	VAL(fcntl(fd, F_GETFD));
	VAL(write(fd, &value, 8));
	VAL(read(fd, &value, 8));
	VAL(value);
	ERR(read(fd, &value, 8));
	ERR(read(fd, &value, 4));
	ERR(write(fd, &value, 4));
	VAL(read(fd, (char[16]){ 0 }, 16));
	CASE("overflow");
	value = UINT64_MAX;
	ERR(write(fd, &value, 8));
	value = UINT64_MAX - 1;
	VAL(write(fd, &value, 8));
	struct pollfd entry = { fd, POLLIN | POLLOUT, 0 };
	VAL(poll(&entry, 1, 0));
	VAL(entry.revents);
	value = 1;
	ERR(write(fd, &value, 8));
	VAL(read(fd, &value, 8));
	CHECK(value == UINT64_MAX - 1);
	VAL(poll(&entry, 1, 0));
	VAL(entry.revents);
	CASE("semaphore");
	fd = NEED(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
	VAL(read(fd, &value, 8));
	VAL(value);
	VAL(read(fd, &value, 8));
	ERR(read(fd, &value, 8));
	ERR(eventfd(0, 0x1000));
	DONE();
}
