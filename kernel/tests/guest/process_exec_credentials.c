// What execve does to ids and capabilities (credentials(7), capabilities(7)): saved and file-system ids follow the
// effective ones, "keep capabilities" ends, only root has capabilities afterwards.
#include "report.h"
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static unsigned long long set[3]; // effective, permitted, inheritable

static void get_sets(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	NEED(syscall(SYS_capget, &header, data));
	set[0] = data[0].effective | (unsigned long long)data[1].effective << 32;
	set[1] = data[0].permitted | (unsigned long long)data[1].permitted << 32;
	set[2] = data[0].inheritable | (unsigned long long)data[1].inheritable << 32;
}

static void put_sets(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ set[0], set[1], set[2] }, { set[0] >> 32, set[1] >> 32, set[2] >> 32 },
	};
	NEED(syscall(SYS_capset, &header, data));
}

static int has(int which, int capability)
{
	return set[which] >> capability & 1;
}

static void show(void)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;
	NEED(getresuid(&ruid, &euid, &suid));
	NEED(getresgid(&rgid, &egid, &sgid));
	SAY("uid %u %u %u fs %d, gid %u %u %u fs %d", ruid, euid, suid, setfsuid(-1), rgid, egid, sgid, setfsgid(-1));
	get_sets();
	SAY("chown %d %d %d, kill %d %d %d", has(0, CAP_CHOWN), has(1, CAP_CHOWN), has(2, CAP_CHOWN), has(0, CAP_KILL),
		has(1, CAP_KILL), has(2, CAP_KILL));
	VAL(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0));
	VAL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
}

// Runs `prepare` and execve in a child, which then shows what it is.
static void after(const char *title, void (*prepare)(void))
{
	CASE(title);
	pid_t child = NEED(fork());
	if (child == 0) {
		char *arguments[] = { "x", "show", NULL };
		prepare();
		execv("/proc/self/exe", arguments);
		SAY("execv: %s", errno_name(errno));
		_exit(9);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void nothing(void) {}

static void effective_user(void)
{
	NEED(setresgid(-1, 1001, -1));
	NEED(setresuid(-1, 1000, -1));
}

static void file_system_user(void)
{
	setfsgid(1001);
	setfsuid(1000);
}

static void keep_capabilities(void)
{
	NEED(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	NEED(setresuid(1000, 1000, 1000));
	get_sets();
	set[0] = set[1];
	put_sets();
	get_sets();
	CHECK(has(0, CAP_CHOWN) && has(1, CAP_CHOWN));
}

static void drop_as_root(void)
{
	get_sets();
	set[0] = set[1] = set[0] & ~(1ull << CAP_CHOWN);
	put_sets();
}

static void drop_from_bounding_set(void)
{
	NEED(prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0));
}

static void ambient(void)
{
	NEED(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	NEED(setresuid(1000, 1000, 1000));
	get_sets();
	set[0] = set[2] = set[1];
	put_sets();
	NEED(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
}

static void real_user(void)
{
	NEED(setresuid(1000, 0, 0));
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		show();
		return 0;
	}
	after("root", nothing);
	after("another effective user", effective_user);
	after("another file-system user", file_system_user);
	after("capabilities kept over a change of the user", keep_capabilities);
	after("root without a capability", drop_as_root);
	after("a capability dropped from the bounding set", drop_from_bounding_set);
	after("an ambient capability", ambient);
	after("another real user", real_user);
	DONE();
}
