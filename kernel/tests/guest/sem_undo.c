// SEM_UNDO: what a process took is given back at its end, however it ends; what SETVAL forgets; threads share.
#include "report.h"
#include <pthread.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

union semun { int val; unsigned short *array; };

static int id;

static int op1(int number, int by, int flags)
{
	struct sembuf o = { number, by, flags };
	return semop(id, &o, 1);
}

static void *take(void *unused)
{
	op1(0, -2, SEM_UNDO);
	return unused;
}

static int run(int part)
{
	pid_t child = fork();
	if (child == 0) {
		union semun argument;
		pthread_t thread;
		switch (part) {
		case 0:
			op1(0, -3, SEM_UNDO);
			op1(1, 4, SEM_UNDO);
			op1(0, -1, 0);
			_exit(0);
		case 1:
			op1(0, -3, SEM_UNDO);
			raise(SIGKILL);
			break;
		case 2:
			op1(0, -3, SEM_UNDO);
			argument.val = 8;
			semctl(id, 0, SETVAL, argument);
			_exit(0);
		case 3: // a thread's ends with the process, not with the thread
			pthread_create(&thread, NULL, take, NULL);
			pthread_join(thread, NULL);
			VAL(semctl(id, 0, GETVAL));
			_exit(0);
		case 4: // not inherited by a child
			op1(0, -1, SEM_UNDO);
			if (fork() == 0)
				_exit(0);
			wait(NULL);
			VAL(semctl(id, 0, GETVAL));
			_exit(0);
		case 5: // kept over execve
			op1(0, -2, SEM_UNDO);
			execl("/bin/busybox", "true", NULL);
			_exit(1);
		case 6: // an adjustment is cut at the limits of a value
			op1(0, -5, SEM_UNDO);
			op1(1, 3, SEM_UNDO);
			op1(1, -2, 0);
			_exit(0);
		case 7: // given up by unshare
			op1(0, -2, SEM_UNDO);
			VAL(semctl(id, 0, GETVAL));
			ERR(unshare(CLONE_SYSVSEM));
			VAL(semctl(id, 0, GETVAL));
			_exit(0);
		}
	}
	int status;
	waitpid(child, &status, 0);
	return status;
}

int main(void)
{
	union semun argument;
	unsigned short values[2] = { 10, 0 };
	argument.array = values;
	id = NEED(semget(IPC_PRIVATE, 2, 0600));
	for (int part = 0; part < 8; part++) {
		values[0] = 10;
		values[1] = 0;
		NEED(semctl(id, 0, SETALL, argument));
		SAY("## part %d", part);
		VAL(run(part));
		SAY("%d %d", semctl(id, 0, GETVAL), semctl(id, 1, GETVAL));
	}
	CASE("the range of an adjustment");
	NEED(semctl(id, 0, SETALL, argument));
	ERR(op1(1, 32767, SEM_UNDO));
	ERR(op1(1, -32767, 0));
	ERR(op1(1, 1, SEM_UNDO));
	ERR(op1(1, 1, SEM_UNDO));
	VAL(semctl(id, 1, GETVAL));
	CASE("somebody waits for what a dead process held");
	NEED(semctl(id, 0, SETALL, argument));
	pid_t holder = fork();
	if (holder == 0) {
		op1(0, -10, SEM_UNDO);
		usleep(50000);
		_exit(0);
	}
	while (semctl(id, 0, GETVAL) != 0)
		usleep(1000);
	ERR(op1(0, -10, 0));
	waitpid(holder, NULL, 0);
	VAL(semctl(id, 0, GETVAL));
	ERR(semctl(id, 0, IPC_RMID));
	DONE();
}
