// Attaching read-only, at an address, rounded, in place of something, executable; what mprotect and munmap do to it.
// variants: dynamic static-pie musl
#include "report.h"
#include <setjmp.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

static sigjmp_buf out;
static int code;
static void *where;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(out, 1);
}

static int attached(int id)
{
	struct shmid_ds ds;
	NEED(shmctl(id, IPC_STAT, &ds));
	return ds.shm_nattch;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	int id = NEED(shmget(IPC_PRIVATE, 3 * 4096, 0700));
	char *rw = shmat(id, NULL, 0);
	strcpy(rw, "text");

	CASE("read-only");
	char *ro = shmat(id, NULL, SHM_RDONLY);
	SAY("%s", ro);
	if (sigsetjmp(out, 1) == 0)
		ro[5] = 1;
	VAL(code);
	CHECK(where == ro + 5);
	int fds[2];
	NEED(pipe(fds));
	CHECK(write(fds[1], "x", 1) == 1);
	ERR(read(fds[0], ro, 1));
	ERR(mprotect(ro, 4096, PROT_READ | PROT_WRITE));
	ERR(mprotect(ro, 4096, PROT_NONE));
	ERR(mprotect(ro, 4096, PROT_READ));
	SAY("%s", ro);
	VAL(attached(id));
	ERR(shmdt(ro));
	VAL(attached(id));

	CASE("at an address");
	char *room = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ERR(shmat(id, room, 0) == (void *)-1 ? -1 : 0);
	ERR(shmat(id, room + 100, 0) == (void *)-1 ? -1 : 0);
	ERR(shmat(id, room + 100, SHM_RND) == (void *)-1 ? -1 : 0);
	ERR(shmat(id, NULL, SHM_REMAP) == (void *)-1 ? -1 : 0);
	memset(room, 'r', 16 * 4096);
	CHECK(shmat(id, room + 4096 + 77, SHM_RND | SHM_REMAP) == room + 4096);
	SAY("%s", room + 4096);
	SAY("%c %c", room[4095], room[4 * 4096]);
	CHECK(shmat(id, room + 8 * 4096, SHM_REMAP) == room + 8 * 4096);
	strcpy(room + 8 * 4096, "changed");
	SAY("%s", room + 4096);

	CASE("a hole in the middle");
	VAL(attached(id));
	ERR(munmap(room + 2 * 4096, 4096));
	VAL(attached(id));
	room[3 * 4096] = 'z';
	SAY("%c", rw[2 * 4096]);
	ERR(shmdt(room + 4096));
	VAL(attached(id));
	if (sigsetjmp(out, 1) == 0)
		room[3 * 4096] = 1;
	VAL(code);
	CHECK(where == room + 3 * 4096);
	ERR(munmap(room, 16 * 4096));
	VAL(attached(id));

	CASE("executable");
	memcpy(rw + 4096, "\xb8\x2a\x00\x00\x00\xc3", 6);
	char *code_at = shmat(id, NULL, SHM_EXEC | SHM_RDONLY);
	CHECK(code_at != (void *)-1);
	VAL(((int (*)(void))(code_at + 4096))());

	CASE("moved");
	char *moved = mremap(rw, 3 * 4096, 3 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	CHECK(moved == room);
	SAY("%s", moved);
	ERR(shmdt(rw));
	ERR(shmdt(moved));
	ERR(shmctl(id, IPC_RMID, NULL));
	SAY("%d", ((int (*)(void))(code_at + 4096))());
	VAL(attached(id));
	DONE();
}
