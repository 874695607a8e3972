/* A file outside of where a fuzz target has something unpacked: whatever the input, it stays as it is. */
#pragma once

#include "runtime/base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* It says "safe". Ends the program where it is another. */
static inline void check_victim(const char *path)
{
	_cleanup_free_ char *found = NULL;
	struct stat st;

	if (rt_read_file_at(AT_FDCWD, path, 100, &found, NULL) || strcmp(found, "safe") != 0 || stat(path, &st) < 0 || st.st_nlink != 1 || st.st_mode != (S_IFREG | 0666))
		abort();
}
