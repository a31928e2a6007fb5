// System V semaphores: arrays of operations, values, what semctl tells and sets, and what is refused.
// variants: dynamic static-pie musl
#include "report.h"
#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };

static int id;

static int op1(int number, int by, int flags)
{
	struct sembuf o = { number, by, flags };
	return semop(id, &o, 1);
}

static void values(void)
{
	union semun argument;
	unsigned short v[3];
	argument.array = v;
	NEED(semctl(id, 0, GETALL, argument));
	SAY("values %d %d %d", v[0], v[1], v[2]);
}

int main(void)
{
	union semun argument;
	struct semid_ds ds;

	CASE("making and finding");
	ERR(semget(0x5e3, 3, 0600));
	id = NEED(semget(0x5e3, 3, IPC_CREAT | 0600));
	CHECK(semget(0x5e3, 0, 0) == id);
	CHECK(semget(0x5e3, 2, 0600) == id);
	ERR(semget(0x5e3, 4, 0600));
	ERR(semget(0x5e3, 3, IPC_CREAT | IPC_EXCL | 0600));
	ERR(semget(IPC_PRIVATE, 0, 0600));
	ERR(semget(IPC_PRIVATE, -1, 0600));
	ERR(semget(IPC_PRIVATE, 32001, 0600));
	values();

	CASE("operations");
	ERR(op1(0, 5, 0));
	ERR(op1(0, -3, 0));
	VAL(semctl(id, 0, GETVAL));
	CHECK(semctl(id, 0, GETPID) == getpid());
	VAL(semctl(id, 1, GETPID));
	ERR(op1(0, -3, IPC_NOWAIT));
	ERR(op1(0, 0, IPC_NOWAIT));
	ERR(op1(1, 0, IPC_NOWAIT));
	ERR(op1(3, 1, 0));
	ERR(op1(0, 32767, 0));
	struct sembuf all[] = { { 0, -2, 0 }, { 1, 4, 0 }, { 1, -1, 0 }, { 0, 0, 0 }, { 2, -1, IPC_NOWAIT } };
	ERR(semop(id, all, 5));
	values();
	all[4].sem_op = 1;
	ERR(semop(id, all, 5));
	values();
	ERR(semop(id, all, 0));
	struct sembuf many[600] = { 0 };
	ERR(semop(id, many, 600));
	ERR(semop(id, (void *)8, 1));
	ERR(semop(-1, all, 1));
	ERR(semop(99999, all, 1));

	CASE("timeouts");
	struct timespec soon = { 0, 20000000 }, bad = { 0, 1000000000 };
	struct sembuf wait = { 0, -1, 0 };
	ERR(semtimedop(id, &wait, 1, &soon));
	ERR(semtimedop(id, &wait, 1, &bad));
	struct sembuf zero = { 1, 0, 0 };
	ERR(semtimedop(id, &zero, 1, &soon));
	VAL(semctl(id, 0, GETNCNT));
	VAL(semctl(id, 1, GETZCNT));

	CASE("setting");
	argument.val = 7;
	ERR(semctl(id, 2, SETVAL, argument));
	argument.val = 32768;
	ERR(semctl(id, 2, SETVAL, argument));
	argument.val = -1;
	ERR(semctl(id, 2, SETVAL, argument));
	argument.val = 1;
	ERR(semctl(id, 3, SETVAL, argument));
	ERR(semctl(id, -1, GETVAL));
	unsigned short set[3] = { 1, 2, 32767 };
	argument.array = set;
	ERR(semctl(id, 0, SETALL, argument));
	values();
	set[1] = 32768;
	ERR(semctl(id, 0, SETALL, argument));
	values();
	argument.array = (void *)8;
	ERR(semctl(id, 0, SETALL, argument));
	ERR(semctl(id, 0, GETALL, argument));
	ERR(op1(2, 1, 0));

	CASE("what IPC_STAT says");
	argument.buf = &ds;
	ERR(semctl(id, 0, IPC_STAT, argument));
	VAL(ds.sem_nsems);
	SAY("mode %o", ds.sem_perm.mode);
	CHECK(ds.sem_otime != 0 && ds.sem_ctime != 0);
	ds.sem_perm.mode = 0444;
	ERR(semctl(id, 0, IPC_SET, argument));
	ERR(semctl(id, 0, IPC_STAT, argument));
	SAY("mode %o", ds.sem_perm.mode);
	struct seminfo info;
	argument.info = &info;
	CHECK(semctl(0, 0, IPC_INFO, argument) >= 0);
	SAY("%d %d %d %d %d %d", info.semmsl, info.semopm, info.semvmx, info.semaem, info.semmni, info.semusz);
	CHECK(semctl(0, 0, SEM_INFO, argument) >= 0);
	VAL(info.semusz);
	VAL(info.semaem);
	ERR(semctl(id, 0, 99, argument));
	ERR(semctl(id, 0, IPC_RMID));
	ERR(semctl(id, 0, IPC_RMID));
	ERR(semctl(id, 0, GETVAL));
	DONE();
}
