// Who may do what with a segment, a semaphore set and a message queue of somebody else's.
#include "report.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };
struct text { long type; char text[4]; };

static void as(uid_t uid, gid_t gid, void (*part)(int), int id)
{
	pid_t child = fork();
	if (child == 0) {
		NEED(setresgid(gid, gid, gid));
		NEED(setresuid(uid, uid, uid));
		part(id);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void segment(int id)
{
	struct shmid_ds ds;
	ERR(shmat(id, NULL, 0) == (void *)-1 ? -1 : 0);
	ERR(shmat(id, NULL, SHM_RDONLY) == (void *)-1 ? -1 : 0);
	ERR(shmat(id, NULL, SHM_RDONLY | SHM_EXEC) == (void *)-1 ? -1 : 0);
	ERR(shmctl(id, IPC_STAT, &ds));
	ds.shm_perm.mode = 0777;
	ERR(shmctl(id, IPC_SET, &ds));
	ERR(shmctl(id, SHM_LOCK, NULL));
	ERR(shmctl(id, IPC_RMID, NULL));
	ERR(shmget(77, 0, 0) < 0 ? -1 : 0);
	ERR(shmget(77, 0, 0400) < 0 ? -1 : 0);
	ERR(shmget(77, 0, 0200) < 0 ? -1 : 0);
	ERR(shmget(77, 0, 0006) < 0 ? -1 : 0);
}

static void semaphores(int id)
{
	union semun argument;
	struct semid_ds ds;
	unsigned short values[2];
	struct sembuf zero = { 0, 0, IPC_NOWAIT }, up = { 0, 1, 0 };
	argument.buf = &ds;
	ERR(semctl(id, 0, IPC_STAT, argument));
	ERR(semctl(id, 0, GETVAL));
	argument.array = values;
	ERR(semctl(id, 0, GETALL, argument));
	ERR(semctl(id, 0, SETALL, argument));
	argument.val = 1;
	ERR(semctl(id, 0, SETVAL, argument));
	ERR(semop(id, &zero, 1));
	ERR(semop(id, &up, 1));
	ERR(semctl(id, 0, IPC_RMID));
}

static void messages(int id)
{
	struct msqid_ds ds;
	struct text m = { 1, "abc" };
	ERR(msgctl(id, IPC_STAT, &ds));
	ERR(msgsnd(id, &m, 3, IPC_NOWAIT));
	ERR(msgrcv(id, &m, 3, 0, IPC_NOWAIT));
	ERR(msgctl(id, IPC_RMID, NULL));
}

static void raise_limit(int id)
{
	struct msqid_ds ds;
	NEED(msgctl(id, IPC_STAT, &ds));
	ds.msg_qbytes = 100;
	ERR(msgctl(id, IPC_SET, &ds));
	ds.msg_qbytes = 1000000;
	ERR(msgctl(id, IPC_SET, &ds));
	ERR(msgctl(id, IPC_RMID, NULL));
}

int main(void)
{
	NEED(setgid(500));
	int shm = NEED(shmget(77, 100, IPC_CREAT | 0640));
	CASE("a segment, for its group");
	as(1000, 500, segment, shm);
	CASE("a segment, for others");
	as(1000, 1000, segment, shm);
	struct shmid_ds ds;
	NEED(shmctl(shm, IPC_STAT, &ds));
	ds.shm_perm.uid = 1000;
	ds.shm_perm.mode = 0400;
	NEED(shmctl(shm, IPC_SET, &ds));
	CASE("a segment that was given away, for root without the capability of its own");
	as(1000, 1000, segment, shm);

	int sem = NEED(semget(IPC_PRIVATE, 2, 0604));
	CASE("semaphores, for others");
	as(1000, 1000, semaphores, sem);
	CASE("semaphores, for root");
	semaphores(sem);

	int msg = NEED(msgget(IPC_PRIVATE, 0602));
	CASE("messages, for others");
	as(1000, 1000, messages, msg);
	struct msqid_ds q;
	NEED(msgctl(msg, IPC_STAT, &q));
	q.msg_perm.uid = 1000;
	NEED(msgctl(msg, IPC_SET, &q));
	CASE("messages that were given away");
	as(1000, 1000, raise_limit, msg);
	DONE();
}
