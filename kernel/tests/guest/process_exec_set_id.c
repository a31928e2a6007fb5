// Programs with the set-user-ID and set-group-ID bits run as their owner (execve(2)), unless the mount or the caller
// forbids it; scripts never do.
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void copy_self(const char *path, uid_t owner, gid_t group, mode_t mode)
{
	struct stat info;
	int from = NEED(open("/proc/self/exe", O_RDONLY));
	int to = NEED(open(path, O_CREAT | O_WRONLY, 0700));
	NEED(fstat(from, &info));
	for (off_t left = info.st_size; left > 0;)
		left -= NEED(sendfile(to, from, NULL, left));
	NEED(fchown(to, owner, group));
	NEED(fchmod(to, mode));
	close(from);
	close(to);
}

static void show(void)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;
	NEED(getresuid(&ruid, &euid, &suid));
	NEED(getresgid(&rgid, &egid, &sgid));
	SAY("uid %u %u %u, gid %u %u %u, secure %lu, dumpable %d, death signal %d", ruid, euid, suid, rgid, egid, sgid,
		getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), ({ int s = 0; prctl(PR_GET_PDEATHSIG, &s); s; }));
}

static void run(const char *path, int no_new_privs)
{
	pid_t child = NEED(fork());
	if (child == 0) {
		char *arguments[] = { "x", "show", NULL };
		NEED(setgid(1001));
		NEED(setuid(1000));
		NEED(prctl(PR_SET_PDEATHSIG, SIGUSR1));
		if (no_new_privs)
			NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		execv(path, arguments);
		SAY("execv: %s", errno_name(errno));
		_exit(9);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		show();
		return 0;
	}
	NEED(mkdir("/tmp/plain", 0755));
	NEED(mount("tmpfs", "/tmp/plain", "tmpfs", 0, "mode=755"));
	copy_self("/tmp/plain/none", 0, 0, 0755);
	copy_self("/tmp/plain/user", 0, 0, 04755);
	copy_self("/tmp/plain/other", 2000, 2001, 04755);
	copy_self("/tmp/plain/group", 2000, 2001, 02755);
	copy_self("/tmp/plain/both", 2000, 2001, 06755);
	copy_self("/tmp/plain/locking", 2000, 2001, 02745);
	CASE("no bit");
	run("/tmp/plain/none", 0);
	CASE("user");
	run("/tmp/plain/user", 0);
	run("/tmp/plain/other", 0);
	CASE("group");
	run("/tmp/plain/group", 0);
	run("/tmp/plain/locking", 0);
	CASE("both");
	run("/tmp/plain/both", 0);
	CASE("no new privileges");
	run("/tmp/plain/user", 1);
	CASE("nosuid");
	NEED(mount(NULL, "/tmp/plain", NULL, MS_REMOUNT | MS_NOSUID, NULL));
	run("/tmp/plain/user", 0);
	DONE();
}
