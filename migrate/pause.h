/* Where tests stop a migration to break it: nothing but a look at the environment unless RT_MIGRATE_PAUSE names a directory (docs/testing.md).
 *
 * A process that comes to a point, and finds a file of that name in the directory, renames it to NAME.PID and waits until that is gone. So a test knows exactly
 * where each process is when it kills one of them or cuts the link. A directory that others can write to is not used. */
#pragma once

void rt_pause(const char *point);
