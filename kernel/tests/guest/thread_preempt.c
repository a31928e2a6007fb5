// A thread that spins without calls does not keep others from running, nor signals from arriving.
#include "report.h"
#include <pthread.h>
#include <time.h>

static volatile int stop, ticks;
static volatile unsigned long spins[3];

static void *spin(void *argument)
{
	volatile unsigned long *counter = argument;
	while (!stop)
		(*counter)++;
	return NULL;
}

static void *tick(void *unused)
{
	for (int i = 0; i < 20; i++) {
		usleep(2000);
		ticks++;
	}
	return unused;
}

int main(void)
{
	pthread_t spinners[3], ticker;
	for (int i = 0; i < 3; i++)
		pthread_create(&spinners[i], NULL, spin, (void *)&spins[i]);
	pthread_create(&ticker, NULL, tick, NULL);
	pthread_join(ticker, NULL);
	VAL(ticks);
	for (int i = 0; i < 2000 && !(spins[0] && spins[1] && spins[2]); i++)
		usleep(1000);
	CHECK(spins[0] > 0 && spins[1] > 0 && spins[2] > 0);
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(spinners[i], NULL);
	CASE("without sleeping");
	stop = 0;
	spins[0] = 0;
	pthread_create(&spinners[0], NULL, spin, (void *)&spins[0]);
	while (!spins[0])
		;
	stop = 1;
	pthread_join(spinners[0], NULL);
	SAY("the other one ran");
	DONE();
}
