// Errors of path look-up: ENOENT, ENOTDIR, ENAMETOOLONG for names and paths, EISDIR, odd slashes.
// variants: dynamic static-pie musl
#include "report.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
	static char name[300], path[5000];
	struct stat status;
	close(NEED(open("/tmp/file", O_CREAT | O_RDWR, 0600)));
	ERR(stat("/tmp//file", &status));
	ERR(stat("//tmp/./file", &status));
	ERR(stat("/tmp/../tmp/file", &status));
	ERR(stat("/../../tmp/file", &status));
	ERR(stat("/tmp/file/", &status));
	ERR(stat("/tmp/file/.", &status));
	ERR(stat("/tmp/file/..", &status));
	ERR(stat("/tmp/none/..", &status));
	ERR(stat("/tmp/none/x", &status));
	ERR(stat("/tmp/.", &status));
	CASE("long names");
	memset(name, 'n', 255);
	snprintf(path, sizeof(path), "/tmp/%s", name);
	ERR(open(path, O_CREAT | O_RDWR, 0600));
	ERR(unlink(path));
	memset(name, 'n', 256);
	snprintf(path, sizeof(path), "/tmp/%s", name);
	ERR(open(path, O_CREAT | O_RDWR, 0600));
	ERR(stat(path, &status));
	CASE("long paths");
	strcpy(path, "/tmp");
	for (int at = 4; at < 4090; at += 2)
		memcpy(path + at, "/.", 3);
	VAL(strlen(path));
	ERR(stat(path, &status));
	strcat(path, "/././");
	VAL(strlen(path));
	ERR(stat(path, &status));
	DONE();
}
