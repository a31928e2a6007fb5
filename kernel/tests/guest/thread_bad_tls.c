// A thread pointer must be a user address: clone refuses others, as arch_prctl does.
// variants: dynamic static-pie musl
#include "report.h"
#include <asm/prctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(void)
{
	ERR(syscall(SYS_arch_prctl, ARCH_SET_FS, 1ul << 63));
	ERR(syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0, 0, 0, 1ul << 63));
	ERR(syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0, 0, 0, 0x800000000000ul));
	struct clone_args arguments = { .flags = CLONE_SETTLS, .exit_signal = SIGCHLD, .tls = ~0ul };
	ERR(syscall(SYS_clone3, &arguments, sizeof arguments));
	ERR(waitpid(-1, NULL, WNOHANG));
	DONE();
}
