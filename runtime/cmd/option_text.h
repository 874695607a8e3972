/* A table of options as lines for the terminal and as troff for man(1). For all programs that have such tables. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdio.h>

/* Hidden ones are left out of both. `width`: columns for an option and its argument; where they want more, its sentence stands on a line of its own. */
void rt_option_print(FILE *stream, const struct rt_option *option, int width);
void rt_option_print_manual(FILE *stream, const struct rt_option *options);

/* Text with what troff would read as its own made harmless. */
void rt_manual_print(FILE *stream, const char *text);
void rt_manual_print_part(FILE *stream, const char *text, size_t length);
