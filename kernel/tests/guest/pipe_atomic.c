// Writes of up to PIPE_BUF from many threads are not torn, whatever the reader does.
#include "report.h"
#include <limits.h>
#include <pthread.h>

#define WRITERS 4
#define RECORDS 300

static int pipes[2];

static void *writer(void *argument)
{
	char record[1000];
	memset(record, 'a' + (long)argument, sizeof(record));
	for (int i = 0; i < RECORDS; i++)
		NEED(write(pipes[1], record, sizeof(record)));
	return NULL;
}

int main(void)
{
	pthread_t threads[WRITERS];
	char record[1000];
	int count[WRITERS] = { 0 }, torn = 0;
	VAL(PIPE_BUF);
	NEED(pipe(pipes));
	for (long i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, writer, (void *)i);
	for (int i = 0; i < WRITERS * RECORDS; i++) {
		for (unsigned have = 0; have < sizeof(record);)
			have += NEED(read(pipes[0], record + have, sizeof(record) - have));
		for (unsigned at = 1; at < sizeof(record); at++)
			torn += record[at] != record[0];
		count[record[0] - 'a']++;
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(threads[i], NULL);
		VAL(count[i]);
	}
	VAL(torn);
	CASE("a full pipe takes no part of a small write");
	int small[2];
	NEED(pipe2(small, 04000));
	while (write(small[1], record, 1000) > 0)
		;
	char whole[PIPE_BUF] = "";
	ERR(write(small[1], whole, PIPE_BUF));
	DONE();
}
