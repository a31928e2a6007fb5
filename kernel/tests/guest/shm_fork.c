// Segments across fork: a child has what its parent has attached, changes are seen both ways, attachments are counted, and
// unrelated addresses show the same memory.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

static int attached(int id)
{
	struct shmid_ds ds;
	NEED(shmctl(id, IPC_STAT, &ds));
	return ds.shm_nattch;
}

static void turn(volatile int *word, int until)
{
	while (*word != until)
		usleep(1000);
}

int main(void)
{
	int id = NEED(shmget(IPC_PRIVATE, 20000, 0600));
	volatile int *words = shmat(id, NULL, 0);
	CHECK(words != (void *)-1);
	words[0] = 1;
	VAL(attached(id));
	pid_t child = fork();
	if (child == 0) {
		VAL(words[0]);
		VAL(attached(id));
		volatile int *elsewhere = shmat(id, NULL, 0);
		VAL(attached(id));
		elsewhere[1] = 11;
		elsewhere[0] = 2;
		turn(words, 3);
		VAL(elsewhere[4000]);
		// The first attachment goes here alone.
		ERR(shmdt((void *)words));
		VAL(attached(id));
		// Private memory in its place is the child's own.
		int *mine = mmap((void *)words, 20480, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		CHECK(mine == words);
		mine[1] = 99;
		elsewhere[0] = 4;
		turn(elsewhere, 5);
		VAL(mine[1]);
		VAL(elsewhere[1]);
		_exit(7);
	}
	turn(words, 2);
	VAL(words[1]);
	words[4000] = 12;
	words[0] = 3;
	turn(words, 4);
	VAL(words[1]);
	words[1] = 13;
	words[0] = 5;
	int status;
	waitpid(child, &status, 0);
	VAL(WEXITSTATUS(status));
	VAL(attached(id));
	VAL(words[1]);

	CASE("removed, and kept by the child alone");
	child = fork();
	if (child == 0) {
		turn(words, 6);
		VAL(words[2]);
		words[2] = 8;
		VAL(attached(id));
		_exit(0);
	}
	words[2] = 7;
	ERR(shmctl(id, IPC_RMID, NULL));
	VAL(attached(id));
	words[0] = 6;
	ERR(shmdt((void *)words));
	waitpid(child, &status, 0);
	VAL(status);
	ERR(shmctl(id, IPC_RMID, NULL));
	DONE();
}
