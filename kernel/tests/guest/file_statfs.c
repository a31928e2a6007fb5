// statfs and fstatfs: kinds of file systems and relations of their numbers.
#include "report.h"
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

int main(void)
{
	struct statfs system;
	struct statvfs virtual;
	ERR(statfs("/tmp", &system));
	CHECK(system.f_type == 0x01021994);
	CHECK(system.f_bsize == 4096 && system.f_blocks >= system.f_bfree && system.f_bfree >= system.f_bavail);
	VAL(system.f_namelen);
	ERR(statfs("/proc", &system));
	CHECK(system.f_type == 0x9fa0);
	int fd = NEED(open("/tmp/x", O_CREAT | O_RDWR, 0600));
	ERR(fstatfs(fd, &system));
	CHECK(system.f_type == 0x01021994);
	ERR(statvfs("/", &virtual));
	CHECK(virtual.f_flag & ST_RDONLY);
	CHECK(virtual.f_blocks > 0 && virtual.f_namemax == 255);
	ERR(statvfs("/tmp", &virtual));
	CHECK(!(virtual.f_flag & ST_RDONLY));
	ERR(statfs("/none", &system));
	ERR(fstatfs(77, &system));
	DONE();
}
