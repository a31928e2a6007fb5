// A file's space comes back with its last name and descriptor.
#include "report.h"
#include <fcntl.h>
#include <sys/statvfs.h>

static unsigned long used(void)
{
	struct statvfs stat;
	NEED(statvfs("/tmp", &stat));
	return stat.f_blocks - stat.f_bfree;
}

static int make(const char *name)
{
	static char bytes[1 << 20];
	int fd = NEED(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
	VAL(write(fd, bytes, sizeof(bytes)));
	return fd;
}

int main(void)
{
	unsigned long before = used();
	CASE("closed, then removed");
	NEED(close(make("/tmp/one")));
	CHECK(used() >= before + 200);
	NEED(unlink("/tmp/one"));
	CHECK(used() == before);
	CASE("removed, then closed");
	int fd = make("/tmp/two");
	NEED(unlink("/tmp/two"));
	CHECK(used() >= before + 200);
	NEED(close(fd));
	CHECK(used() == before);
	CASE("replaced");
	NEED(close(make("/tmp/old")));
	NEED(close(NEED(open("/tmp/new", O_WRONLY | O_CREAT, 0600))));
	NEED(rename("/tmp/new", "/tmp/old"));
	CHECK(used() == before);
	CASE("without a name from the start");
	fd = make("/tmp/three");
	NEED(unlink("/tmp/three"));
	NEED(ftruncate(fd, 0));
	CHECK(used() == before);
	NEED(close(fd));
	DONE();
}
