/*
 * mark: says that it runs, as its first act, and ends the machine when it is its first program.
 *
 * Built static-pie with the host's gcc; runs natively and in the guest unchanged.
 */
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	static const char mark[] = "flatland-mark\n";

	if (write(1, mark, sizeof mark - 1) != sizeof mark - 1)
		return 1;
	/* Where another process reaps us, or the kernel does not let us, there is nothing to end. */
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}
