// RLIMIT_NPROC counts the processes and threads of one user, not those of all.
#include "report.h"
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

// A child that lives until nobody has the writing end of the pipe any more.
static pid_t waiting_child(int ends[2])
{
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(ends[1]);
		read(ends[0], &byte, 1);
		_exit(0);
	}
	return child;
}

int main(void)
{
	int ends[2];
	NEED(pipe(ends));
	for (int i = 0; i < 5; i++)
		NEED(waiting_child(ends));
	// A user of its own for each run: Linux counts beyond the borders of this test.
	struct timespec now;
	NEED(clock_gettime(CLOCK_MONOTONIC, &now));
	uid_t id = 1000000 + now.tv_nsec;
	pid_t user = NEED(fork());
	if (user == 0) {
		struct rlimit limit = { 3, 3 };
		NEED(setrlimit(RLIMIT_NPROC, &limit));
		NEED(setresgid(id, id, id));
		NEED(setresuid(id, id, id));
		CHECK(waiting_child(ends) > 0);
		CHECK(waiting_child(ends) > 0);
		ERR(waiting_child(ends));
		_exit(report_failures);
	}
	int status;
	CHECK(waitpid(user, &status, 0) == user && status == 0);
	close(ends[1]);
	while (wait(&status) > 0)
		;
	DONE();
}
