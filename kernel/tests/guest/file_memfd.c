// memfd_create: an unnamed file that can be mapped, sealed, and executed by path through /proc.
#include "report.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(void)
{
	char link[64], path[64];
	int fd = NEED(memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	VAL(fcntl(fd, F_GETFD));
	struct stat status;
	NEED(fstat(fd, &status));
	CHECK(S_ISREG(status.st_mode));
	VAL(status.st_nlink);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	long length = readlink(path, link, sizeof(link));
	SAY("%.*s", (int)length, link);
	ERR(ftruncate(fd, 8192));
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(map + 4096, "mapped");
	char text[8];
	VAL(pread(fd, text, 7, 4096));
	SAY("%s", text);
	CASE("seals");
	VAL(fcntl(fd, F_GET_SEALS));
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	VAL(fcntl(fd, F_GET_SEALS));
	ERR(ftruncate(fd, 4096));
	ERR(ftruncate(fd, 16384));
	ERR(pwrite(fd, "x", 1, 8192));
	ERR(pwrite(fd, "x", 1, 0));
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	munmap(map, 8192);
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
	ERR(pwrite(fd, "x", 1, 0));
	ERR(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	int plain = NEED(memfd_create("plain", 0));
	VAL(fcntl(plain, F_GETFD));
	VAL(fcntl(plain, F_GET_SEALS));
	ERR(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE));
	ERR(memfd_create("bad", 0x4000));
	DONE();
}
