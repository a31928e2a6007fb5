// A wild pointer handed to a file call is EFAULT, whatever its kind: null, unmapped, PROT_NONE, kernel half, wrapping.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void with(const char *kind, char *wild)
{
	int zero = NEED(open("/dev/zero", O_RDONLY));
	int file = NEED(open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600));
	NEED(write(file, "0123456789", 10));
	NEED(lseek(file, 0, SEEK_SET));
	CASE(kind);
	ERR(syscall(SYS_read, zero, wild, 100));
	ERR(syscall(SYS_read, file, wild, 100));
	ERR(syscall(SYS_write, file, wild, 100));
	ERR(syscall(SYS_pread64, file, wild, 10, 0));
	ERR(syscall(SYS_open, wild, O_RDONLY));
	ERR(syscall(SYS_stat, wild, wild));
	ERR(syscall(SYS_fstat, file, wild));
	ERR(syscall(SYS_lstat, "/tmp", wild));
	ERR(syscall(SYS_getcwd, wild, 100));
	ERR(syscall(SYS_readlink, "/proc/self/exe", wild, 100));
	ERR(syscall(SYS_mkdir, wild, 0700));
	ERR(syscall(SYS_statfs, "/tmp", wild));
	ERR(syscall(SYS_pipe, wild));
	ERR(syscall(SYS_readv, zero, wild, 1));
	struct iovec vector = { wild, 10 };
	ERR(syscall(SYS_readv, zero, &vector, 1));
	ERR(syscall(SYS_writev, file, &vector, 1));
	ERR(syscall(SYS_getdents64, NEED(open("/tmp", O_RDONLY | O_DIRECTORY)), wild, 100));
	close(zero);
	close(file);
}

int main(void)
{
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(map + 4096, 4096);
	with("null", NULL);
	with("unmapped", map + 4096);
	with("no permission", none);
	with("kernel half", (char *)0xffff888000000000ul);
	with("not canonical", (char *)0x0000900000000000ul);
	with("wrapping", (char *)-8l);
	CASE("partly good");
	int zero = NEED(open("/dev/zero", O_RDONLY));
	memset(map, 1, 4096);
	VAL(syscall(SYS_read, zero, map + 4000, 200) > 0);
	struct iovec vector[2] = { { map, 10 }, { none, 10 } };
	VAL(readv(zero, vector, 2));
	CASE("read only memory");
	mprotect(map, 4096, PROT_READ);
	ERR(syscall(SYS_read, zero, map, 16));
	DONE();
}
