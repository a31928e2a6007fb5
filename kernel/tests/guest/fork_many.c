// A hundred children alive at once, each answers through its pipe and is waited for.
// variants: dynamic static-pie fixed
#include "report.h"
#include <sys/wait.h>

int main(void)
{
	int go[2], back[2], status, sum = 0, codes = 0;
	unsigned char byte;
	NEED(pipe(go));
	NEED(pipe(back));
	for (int i = 0; i < 100; i++) {
		if (NEED(fork()) == 0) {
			close(go[1]);
			(void)!read(go[0], &byte, 1);
			byte = i;
			NEED(write(back[1], &byte, 1));
			_exit(i % 50);
		}
	}
	close(go[1]);
	for (int i = 0; i < 100; i++) {
		NEED(read(back[0], &byte, 1));
		sum += byte;
	}
	while (wait(&status) > 0)
		codes += WEXITSTATUS(status);
	VAL(sum);
	VAL(codes);
	DONE();
}
