// /proc/sysvipc, /proc/sys/kernel's limits, and the commands that go through all objects.
#include "report.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };

static void show(const char *name)
{
	char text[4096], out[4096] = "";
	int fd = NEED(open(name, O_RDONLY));
	ssize_t n = read(fd, text, sizeof text - 1);
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	SAY("%s: %d lines", name, (int)n > 0 ? (int)(strchr(text, '\n') - text > 0) : 0);
	// Header as it is; of the row what is the same everywhere.
	char *row = strchr(text, '\n');
	*row++ = 0;
	SAY("%s", text);
	SAY("row of %d bytes", (int)(strchr(row, '\n') - row));
	int key, id;
	unsigned mode;
	sscanf(row, "%d %d %o %[^\n]", &key, &id, &mode, out);
	SAY("key %d mode %o", key, mode);
	CHECK(strchr(strchr(row, '\n') + 1, '\n') == NULL);
}

static void limit(const char *name)
{
	char text[256], path[128];
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	int fd = NEED(open(path, O_RDONLY));
	ssize_t n = read(fd, text, sizeof text - 1);
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	SAY("%s: %s", name, text);
}

int main(void)
{
	int shm = NEED(shmget(0x11, 10000, IPC_CREAT | 0640));
	int sem = NEED(semget(0x12, 3, IPC_CREAT | 0604));
	int msg = NEED(msgget(0x13, IPC_CREAT | 0622));
	char *at = shmat(shm, NULL, 0);
	memset(at, 1, 10000);
	show("/proc/sysvipc/shm");
	show("/proc/sysvipc/sem");
	show("/proc/sysvipc/msg");
	const char *limits[] = { "shmmax", "shmall", "shmmni", "sem", "msgmax", "msgmnb", "msgmni", "shm_rmid_forced" };
	for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++)
		limit(limits[i]);

	CASE("by index");
	struct shmid_ds sds;
	struct shm_info sinfo;
	int highest = shmctl(0, SHM_INFO, (void *)&sinfo);
	CHECK(highest >= 0);
	SAY("%d segments of %lu pages, %lu resident", sinfo.used_ids, sinfo.shm_tot, sinfo.shm_rss);
	int found = 0;
	for (int i = 0; i <= highest; i++)
		found += shmctl(i, SHM_STAT, &sds) == shm && sds.shm_segsz == 10000;
	VAL(found);
	ERR(shmctl(highest + 1, SHM_STAT, &sds));
	struct shminfo limits_of;
	CHECK(shmctl(0, IPC_INFO, (void *)&limits_of) >= 0);
	SAY("%lu %lu %lu", limits_of.shmmin, limits_of.shmmni, limits_of.shmseg);
	union semun argument;
	struct semid_ds semds;
	struct seminfo seminfo;
	argument.info = &seminfo;
	highest = semctl(0, 0, SEM_INFO, argument);
	argument.buf = &semds;
	found = 0;
	for (int i = 0; i <= highest; i++)
		found += semctl(i, 0, SEM_STAT, argument) == sem && semds.sem_nsems == 3;
	VAL(found);
	struct msqid_ds mds;
	struct msginfo minfo;
	highest = msgctl(0, MSG_INFO, (void *)&minfo);
	found = 0;
	for (int i = 0; i <= highest; i++)
		found += msgctl(i, MSG_STAT, &mds) == msg;
	VAL(found);

	CASE("a segment in /proc/self/maps");
	char line[512], expected[64];
	snprintf(expected, sizeof expected, " %d", shm);
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps))
		if (strstr(line, "/SYSV")) {
			CHECK(strstr(line, expected) != NULL);
			SAY("%s", strstr(line, "/SYSV"));
			CHECK(strstr(line, " rw-s 00000000 00:") != NULL);
		}
	fclose(maps);
	shmctl(shm, IPC_RMID, NULL);
	semctl(sem, 0, IPC_RMID);
	msgctl(msg, IPC_RMID, NULL);
	DONE();
}
