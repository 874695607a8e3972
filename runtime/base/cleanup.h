/* Scope-bound ownership: a variable marked with one of these releases what it holds when it leaves its scope.
 *
 * Ownership leaves a scope only through rt_take_ptr() and rt_take_fd(). Every cleanup keeps errno, so that it
 * never disturbs the failure that is being reported. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _must_check_ __attribute__((warn_unused_result))

#define _cleanup_close_ _cleanup_(rt_closep)
#define _cleanup_free_ _cleanup_(rt_freep)
#define _cleanup_closedir_ _cleanup_(rt_closedirp)
#define _cleanup_fclose_ _cleanup_(rt_fclosep)
#define _cleanup_json_ _cleanup_(rt_json_decrefp)

#define rt_take_ptr(p)                    \
	({                                \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;               \
		taken_;                   \
	})

#define rt_take_fd(fd)            \
	({                        \
		int taken_ = (fd); \
		(fd) = -1;        \
		taken_;           \
	})

#define RT_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Also by hand: closed once, however often it is called. */
static inline void rt_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/* Takes the address of any pointer that malloc() gave. */
static inline void rt_freep(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

static inline void rt_closedirp(DIR **dir)
{
	int saved = errno;

	if (*dir)
		closedir(*dir);
	*dir = NULL;
	errno = saved;
}

static inline void rt_fclosep(FILE **file)
{
	int saved = errno;

	if (*file)
		fclose(*file);
	errno = saved;
}

static inline void rt_json_decrefp(json_t **json)
{
	int saved = errno;

	json_decref(*json);
	errno = saved;
}
