/* What the person in front of `rt migrate` sees: a bar on a terminal, plain lines elsewhere, JSON events with --json; and the table at the end.
 *
 * Standard output, in UTF-8 or ASCII as the locale says. Cheap enough to be called from the frozen window: nothing is written there but what was asked for. */
#pragma once

#include "migrate/report.h"
#include "runtime/base/error.h"

#include <stdio.h>

enum rt_progress_form { RT_PROGRESS_AUTO, RT_PROGRESS_BAR, RT_PROGRESS_LINES, RT_PROGRESS_JSON };

struct rt_progress;
/* AUTO: a bar where `stream` is a terminal, else lines. */
struct rt_error *rt_progress_new(enum rt_progress_form form, FILE *stream, struct rt_progress **ret) _must_check_;
void rt_progress_free(struct rt_progress *progress);

/* "offering the container", "copying memory", "freezing": a step begins. */
void rt_progress_step(struct rt_progress *progress, const char *doing);
/* A sentence for the person: "mode pre-copy: 262 MiB of memory, tracked by uffd-wp". */
void rt_progress_note(struct rt_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Within a step, as often as one likes: bytes done (0 when it begins) of so many (0: unknown), in this round (0: no rounds). Draws at most 10 times a second;
 * an event a second with JSON; a line every 10 seconds where it is no terminal. */
void rt_progress_amount(struct rt_progress *progress, unsigned round, uint64_t done_bytes, uint64_t of_bytes);
/* A round is over. */
void rt_progress_round(struct rt_progress *progress, unsigned number, const struct rt_report_round *round);
/* The end: the table of the downtime and totals, or the "done" event. `error`: what it failed with, NULL: it did not. */
void rt_progress_finish(struct rt_progress *progress, const struct rt_report *report, const char *error);

/* Writes one self-contained page: timeline of the rounds, dirty rate, the downtime split; no script from elsewhere, all text escaped. report_html.c */
struct rt_error *rt_report_write_html(const struct rt_report *report, const char *file) _must_check_;
