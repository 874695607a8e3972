#include "runtime/cmd/pstable.h"

#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\n"

int rt_ps_pid_column(const char *title)
{
	for (int column = 0;; column++) {
		size_t length;

		title += strspn(title, BLANKS);
		length = strcspn(title, BLANKS);
		if (length == 0)
			return -1;
		if (length == 3 && memcmp(title, "PID", 3) == 0)
			return column;
		title += length;
	}
}

bool rt_ps_line_of(const char *line, int column, const pid_t *pids, size_t count)
{
	char *end;
	long pid;

	for (line += strspn(line, BLANKS); column > 0; column--) {
		line += strcspn(line, BLANKS);
		line += strspn(line, BLANKS);
	}
	pid = strtol(line, &end, 10);
	if (end == line)
		return false;
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}
