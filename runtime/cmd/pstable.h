/* Reading the table that ps(1) prints. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Which column of the title is "PID", from 0; -1: none. */
int rt_ps_pid_column(const char *title);

/* True where the number in the column is one of the pids. */
bool rt_ps_line_of(const char *line, int column, const pid_t *pids, size_t count);
