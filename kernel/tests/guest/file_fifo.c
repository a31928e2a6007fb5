// A named pipe: opening without the other side, data through it, end of file.
#include "report.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static void *writer(void *unused)
{
	int fd = NEED(open("/tmp/fifo", O_WRONLY));
	NEED(write(fd, "through the fifo", 16));
	close(fd);
	return unused;
}

int main(void)
{
	char text[32];
	pthread_t thread;
	ERR(mkfifo("/tmp/fifo", 0600));
	ERR(mkfifo("/tmp/fifo", 0600));
	ERR(open("/tmp/fifo", O_WRONLY | O_NONBLOCK));
	int reading = ERR(open("/tmp/fifo", O_RDONLY | O_NONBLOCK));
	VAL(read(reading, text, 32));
	close(reading);
	CASE("two blocking sides meet");
	pthread_create(&thread, NULL, writer, NULL);
	reading = NEED(open("/tmp/fifo", O_RDONLY));
	VAL(read(reading, text, 32));
	SAY("%.16s", text);
	pthread_join(thread, NULL);
	VAL(read(reading, text, 32));
	CASE("both ways");
	int both = NEED(open("/tmp/fifo", O_RDWR | O_NONBLOCK));
	VAL(write(both, "abc", 3));
	VAL(read(reading, text, 32));
	ERR(read(both, text, 32));
	DONE();
}
