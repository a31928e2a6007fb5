// mount(2): moving, binding and remounting, flags and what they forbid, umount with and without MNT_DETACH, mountinfo.
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

// Shows what mountinfo says of the mounts at or below `place`: where, the part of the file system, options, type.
static void info(const char *place)
{
	char line[1000];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	while (f && fgets(line, sizeof line, f)) {
		char root[200], at[200], options[200], type[200];
		char *dash = strstr(line, " - ");
		if (!dash || sscanf(line, "%*d %*d %*s %199s %199s %199s", root, at, options) != 3)
			continue;
		sscanf(dash + 3, "%199s", type);
		if (strncmp(at, place, strlen(place)) == 0)
			SAY("%s %s %s %s", at, root, options, type);
	}
	if (f)
		fclose(f);
}

static void put(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0644);
	SAY("put %s: %s", name, fd < 0 ? errno_name(errno) : "ok");
	close(fd);
}

int main(void)
{
	NEED(chdir("/tmp"));
	NEED(mkdir("a", 0755));
	NEED(mkdir("b", 0755));
	NEED(mkdir("c", 0755));
	put("file");

	CASE("moving");
	ERR(mount("x", "a", "tmpfs", MS_NOSUID, "mode=755"));
	put("a/inside");
	NEED(mkdir("a/sub", 0755));
	NEED(mkdir("a/dir", 0755));
	put("a/dir/deep");
	ERR(mount("y", "a/sub", "tmpfs", 0, NULL));
	info("/tmp/");
	ERR(mount("c", "b", NULL, MS_MOVE, NULL));
	ERR(mount("a/dir", "b", NULL, MS_MOVE, NULL));
	ERR(mount("a", "a/sub", NULL, MS_MOVE, NULL));
	ERR(mount("a", "file", NULL, MS_MOVE, NULL));
	ERR(mount("none", "b", NULL, MS_MOVE, NULL));
	ERR(mount("a", "b", NULL, MS_MOVE, NULL));
	ERR(access("a/inside", F_OK));
	ERR(access("b/inside", F_OK));
	info("/tmp/");
	ERR(mount("b", "a", NULL, MS_MOVE, NULL));

	CASE("binding");
	ERR(mount("a/dir", "b", NULL, MS_BIND, NULL));
	ERR(access("b/deep", F_OK));
	ERR(mount("a", "c", NULL, MS_BIND | MS_REC, NULL));
	ERR(mount("file", "a/inside", NULL, MS_BIND, NULL));
	ERR(mount("a", "file", NULL, MS_BIND, NULL));
	info("/tmp/");

	CASE("flags");
	struct statvfs st;
	ERR(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC, NULL));
	put("b/new");
	put("a/dir/new");
	ERR(unlink("b/deep"));
	ERR(mkdir("b/x", 0755));
	ERR(chmod("b/deep", 0600));
	ERR(rename("b/deep", "b/other"));
	ERR(statvfs("b", &st));
	VAL((st.f_flag & (ST_RDONLY | ST_NOSUID | ST_NOEXEC)) != 0);
	info("/tmp/b");
	ERR(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_NOATIME, NULL));
	ERR(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL));
	info("/tmp/b");
	put("b/new2");
	ERR(mount(NULL, "b/..", NULL, MS_REMOUNT | MS_BIND, NULL));
	ERR(mount(NULL, "a/dir", NULL, MS_REMOUNT | MS_BIND, NULL));

	CASE("unmounting");
	ERR(umount("a/dir"));
	ERR(umount("none"));
	ERR(umount2("a", 64));
	int in = NEED(inotify_init1(IN_NONBLOCK));
	NEED(inotify_add_watch(in, "a/sub", IN_ALL_EVENTS));
	ERR(umount("a"));
	ERR(umount("c/sub"));
	char buffer[200];
	VAL(read(in, buffer, sizeof buffer));
	ERR(umount("a/sub"));
	ssize_t n = read(in, buffer, sizeof buffer);
	for (char *p = buffer; n > 0 && p < buffer + n; p += sizeof(struct inotify_event))
		SAY("%#x", ((struct inotify_event *)p)->mask);
	int fd = NEED(open("a/dir/deep", O_RDWR));
	ERR(umount("c"));
	ERR(umount("a/inside"));
	ERR(umount("b"));
	ERR(umount("a"));
	ERR(umount2("a", MNT_DETACH));
	ERR(access("a/dir", F_OK));
	VAL(write(fd, "still", 5));
	VAL(pread(fd, buffer, 5, 0));
	close(fd);
	info("/tmp/");
	NEED(mkdir("stack", 0755));
	ERR(mount("1", "stack", "tmpfs", 0, NULL));
	put("stack/one");
	ERR(mount("2", "stack", "tmpfs", MS_RDONLY, NULL));
	put("stack/two");
	info("/tmp/stack");
	ERR(umount("stack"));
	ERR(access("stack/one", F_OK));
	ERR(umount2("stack", UMOUNT_NOFOLLOW));
	ERR(rmdir("stack"));
	NEED(symlink("c", "link"));
	ERR(mount("3", "link", "tmpfs", 0, NULL));
	ERR(umount2("link", UMOUNT_NOFOLLOW));
	ERR(umount("link"));

	CASE("errors");
	ERR(mount("x", "a", "nosuchfs", 0, NULL));
	ERR(mount("x", "file", "tmpfs", 0, NULL));
	ERR(mount("x", "none", "tmpfs", 0, NULL));
	ERR(mount("x", "a", "tmpfs", 0, "size=never"));
	ERR(mount("x", "a", "devpts", 0, "colour=red"));
	ERR(mount("x", "a", "devpts", MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"));
	ERR(access("a/ptmx", F_OK));
	ERR(umount("a"));
	pid_t child = NEED(fork());
	if (child == 0) {
		NEED(setuid(1000));
		ERR(mount("x", "a", "tmpfs", 0, NULL));
		ERR(mount("a", "b", NULL, MS_MOVE, NULL));
		ERR(umount("/tmp"));
		_exit(0);
	}
	NEED(waitpid(child, NULL, 0));
	DONE();
}
