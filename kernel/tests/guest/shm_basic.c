// System V shared memory: making, finding, attaching, detaching and removing segments, and what each refuses.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define KEY 0x5f1a7

int main(void)
{
	struct shmid_ds ds;

	CASE("making and finding");
	ERR(shmget(KEY, 5000, 0600));
	int id = NEED(shmget(KEY, 5000, IPC_CREAT | 0640));
	CHECK(shmget(KEY, 0, 0) == id);
	CHECK(shmget(KEY, 5000, IPC_CREAT | 0600) == id);
	ERR(shmget(KEY, 5001, 0600));
	ERR(shmget(KEY, 5000, IPC_CREAT | IPC_EXCL | 0600));
	ERR(shmget(IPC_PRIVATE, 0, 0600));
	ERR(shmget(IPC_PRIVATE, (size_t)-1, 0600));
	int other = NEED(shmget(IPC_PRIVATE, 1, 0600));
	CHECK(other != id);

	CASE("attaching");
	char *at = shmat(id, NULL, 0);
	CHECK(at != (void *)-1 && (unsigned long)at % 4096 == 0);
	VAL(at[4999]);
	strcpy(at, "seen twice");
	char *again = shmat(id, NULL, 0);
	CHECK(again != at);
	SAY("%s", again);
	strcpy(again + 4990, "tail");
	SAY("%s", at + 4990);
	at[8191] = 1; // the rest of the last page is there, too
	VAL(again[8191]);

	CASE("what IPC_STAT says");
	ERR(shmctl(id, IPC_STAT, &ds));
	VAL(ds.shm_segsz);
	VAL(ds.shm_nattch);
	SAY("mode %o", ds.shm_perm.mode);
	CHECK(ds.shm_perm.__key == KEY || KEY);
	CHECK(ds.shm_cpid == getpid() && ds.shm_lpid == getpid());
	CHECK(ds.shm_atime != 0 && ds.shm_dtime == 0 && ds.shm_ctime != 0);
	CHECK(ds.shm_perm.uid == geteuid() && ds.shm_perm.cuid == geteuid());
	CHECK(ds.shm_perm.gid == getegid() && ds.shm_perm.cgid == getegid());
	ERR(shmdt(again));
	ERR(shmdt(again));
	ERR(shmdt(at + 1));
	ERR(shmdt(at + 4096));
	ERR(shmctl(id, IPC_STAT, &ds));
	VAL(ds.shm_nattch);
	CHECK(ds.shm_dtime != 0);

	CASE("changing");
	ds.shm_perm.mode = 0666;
	ds.shm_perm.uid = 4242;
	ERR(shmctl(id, IPC_SET, &ds));
	ERR(shmctl(id, IPC_STAT, &ds));
	SAY("mode %o uid %d", ds.shm_perm.mode, ds.shm_perm.uid);
	ds.shm_perm.uid = -1;
	ERR(shmctl(id, IPC_SET, &ds));
	ERR(shmctl(id, SHM_LOCK, NULL));
	ERR(shmctl(id, IPC_STAT, &ds));
	SAY("mode %o", ds.shm_perm.mode);
	ERR(shmctl(id, SHM_UNLOCK, NULL));

	CASE("removing while attached");
	ERR(shmctl(id, IPC_RMID, NULL));
	SAY("%s", at);
	ERR(shmget(KEY, 0, 0));
	ERR(shmctl(id, IPC_STAT, &ds));
	SAY("mode %o, attached %d", ds.shm_perm.mode, (int)ds.shm_nattch);
	again = shmat(id, NULL, 0);
	CHECK(again != (void *)-1);
	SAY("%s", again);
	ERR(shmdt(at));
	ERR(shmdt(again));
	ERR(shmctl(id, IPC_STAT, &ds));
	ERR(shmat(id, NULL, 0));
	ERR(shmctl(other, IPC_RMID, NULL));
	ERR(shmctl(other, IPC_RMID, NULL));

	CASE("nonsense");
	ERR(shmat(-1, NULL, 0));
	ERR(shmctl(-1, IPC_STAT, &ds));
	ERR(shmctl(12345678, IPC_STAT, &ds));
	id = NEED(shmget(IPC_PRIVATE, 100, 0600));
	ERR(shmctl(id, 77, &ds));
	ERR(shmctl(id, IPC_STAT, (void *)8));
	ERR(shmctl(id, IPC_SET, (void *)8));
	ERR(shmdt((void *)0x10000));
	ERR(shmctl(id, IPC_RMID, NULL));
	DONE();
}
