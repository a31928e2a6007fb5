// User and group ids of root: get and set all forms, groups, and what a process that gave root up may not do.
#include "report.h"
#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void tell(const char *when)
{
	uid_t real, effective, saved;
	gid_t group, effective_group, saved_group;
	NEED(getresuid(&real, &effective, &saved));
	NEED(getresgid(&group, &effective_group, &saved_group));
	SAY("%s: uid %u %u %u gid %u %u %u", when, real, effective, saved, group, effective_group, saved_group);
}

int main(void)
{
	gid_t groups[8];
	tell("start");
	SAY("%u %u %u %u", getuid(), geteuid(), getgid(), getegid());
	ERR(setgroups(3, (gid_t[]){ 5, 6, 7 }));
	VAL(getgroups(0, NULL));
	VAL(getgroups(8, groups));
	SAY("%u %u %u", groups[0], groups[1], groups[2]);
	ERR(getgroups(1, groups));
	ERR(setresgid(10, 20, 30));
	tell("setresgid");
	ERR(setregid(-1, 10));
	tell("setregid");
	CASE("effective only");
	ERR(seteuid(1000));
	tell("seteuid");
	int fd = ERR(open("/tmp/mine", O_CREAT | O_RDWR, 0600));
	struct stat status;
	NEED(fstat(fd, &status));
	SAY("owner %u:%u", status.st_uid, status.st_gid);
	ERR(chown("/tmp/mine", 2000, 2000));
	ERR(setuid(2000));
	ERR(setgroups(0, NULL));
	ERR(seteuid(0));
	tell("back");
	CASE("for good");
	ERR(setuid(1000));
	tell("setuid");
	ERR(setuid(0));
	ERR(seteuid(0));
	ERR(setresuid(-1, -1, 0));
	ERR(setresuid(1000, 1000, 1000));
	close(NEED(open("/tmp/mine2", O_CREAT | O_RDWR, 0400)));
	ERR(open("/tmp/mine2", O_RDWR));
	ERR(open("/tmp/mine2", O_RDONLY));
	ERR(kill(1, SIGCONT));
	ERR(kill(1, 0));
	DONE();
}
