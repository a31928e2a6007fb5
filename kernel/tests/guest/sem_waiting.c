// Waiting for semaphores: who is woken by what, how many wait, removal, signals.
#include "report.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };

static int id;

static pid_t waiter(int number, int by)
{
	pid_t child = fork();
	if (child == 0) {
		struct sembuf o = { number, by, 0 };
		int r = semop(id, &o, 1);
		_exit(r == 0 ? 0 : errno);
	}
	return child;
}

static void until(int number, int command, int count)
{
	while (semctl(id, number, command) != count)
		usleep(1000);
}

static int ended(pid_t child)
{
	int status;
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void on_signal(int number)
{
	(void)number;
}

static void *threaded(void *unused)
{
	struct sembuf o = { 0, -1, 0 };
	semop(id, &o, 1);
	return unused;
}

int main(void)
{
	union semun argument;
	id = NEED(semget(IPC_PRIVATE, 2, 0600));

	CASE("larger and smaller wishes");
	pid_t three = waiter(0, -3);
	until(0, GETNCNT, 1);
	pid_t one = waiter(0, -1);
	until(0, GETNCNT, 2);
	struct sembuf up = { 0, 2, 0 };
	ERR(semop(id, &up, 1));
	VAL(ended(one));
	VAL(semctl(id, 0, GETNCNT));
	VAL(semctl(id, 0, GETVAL));
	ERR(semop(id, &up, 1));
	VAL(ended(three));
	VAL(semctl(id, 0, GETVAL));
	CHECK(semctl(id, 0, GETPID) == three);

	CASE("waiting for zero");
	argument.val = 2;
	NEED(semctl(id, 1, SETVAL, argument));
	pid_t zero = waiter(1, 0);
	until(1, GETZCNT, 1);
	VAL(semctl(id, 1, GETNCNT));
	struct sembuf down = { 1, -2, 0 };
	ERR(semop(id, &down, 1));
	VAL(ended(zero));
	VAL(semctl(id, 1, GETZCNT));

	CASE("SETVAL and SETALL wake");
	one = waiter(0, -5);
	until(0, GETNCNT, 1);
	argument.val = 5;
	ERR(semctl(id, 0, SETVAL, argument));
	VAL(ended(one));
	one = waiter(1, -1);
	until(1, GETNCNT, 1);
	unsigned short set[2] = { 0, 1 };
	argument.array = set;
	ERR(semctl(id, 0, SETALL, argument));
	VAL(ended(one));

	CASE("a signal ends the wait, with or without SA_RESTART");
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0 };
		sigaction(SIGUSR1, &action, NULL);
		one = waiter(0, -1);
		until(0, GETNCNT, 1);
		kill(one, SIGUSR1);
		SAY("%s", errno_name(ended(one)));
		VAL(semctl(id, 0, GETNCNT));
	}

	CASE("killed while it waits");
	one = waiter(0, -1);
	until(0, GETNCNT, 1);
	kill(one, SIGKILL);
	int status;
	waitpid(one, &status, 0);
	VAL(WTERMSIG(status));
	VAL(semctl(id, 0, GETNCNT));

	CASE("a thread");
	pthread_t thread;
	pthread_create(&thread, NULL, threaded, NULL);
	until(0, GETNCNT, 1);
	up.sem_op = 1;
	ERR(semop(id, &up, 1));
	pthread_join(thread, NULL);
	VAL(semctl(id, 0, GETVAL));

	CASE("removal");
	one = waiter(0, -1);
	until(0, GETNCNT, 1);
	ERR(semctl(id, 0, IPC_RMID));
	SAY("%s", errno_name(ended(one)));
	DONE();
}
