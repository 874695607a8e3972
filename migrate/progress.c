#include "migrate/progress.h"

#include "runtime/base/clock.h"
#include "runtime/base/str.h"

#include <inttypes.h>
#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#define DRAW_EVERY_US 100000
#define EVENT_EVERY_US 1000000
#define LINE_EVERY_US 10000000
#define BAR 24

struct rt_progress {
	enum rt_progress_form form; /* never AUTO */
	FILE *stream;
	bool utf8;
	const char *step; /* borrowed: a literal of the source's table */
	uint64_t began, drawn_at, amount_at; /* us */
	double dirty_rate; /* MB/s, in the last round */
	uint64_t predicted_us;
	bool drawn; /* a bar stands on the last line */
};

struct rt_error *rt_progress_new(enum rt_progress_form form, FILE *stream, struct rt_progress **ret)
{
	struct rt_progress *progress = calloc(1, sizeof(*progress));

	if (!progress)
		return rt_error_oom();
	if (form == RT_PROGRESS_AUTO)
		form = isatty(fileno(stream)) ? RT_PROGRESS_BAR : RT_PROGRESS_LINES;
	setlocale(LC_CTYPE, "");
	*progress = (struct rt_progress){
		.form = form, .stream = stream, .utf8 = rt_str_equal(nl_langinfo(CODESET), "UTF-8"), .began = rt_now_us(),
	};
	*ret = progress;
	return NULL;
}

void rt_progress_free(struct rt_progress *progress)
{
	free(progress);
}

static void clear(struct rt_progress *progress)
{
	if (progress->drawn)
		fputs("\r\033[K", progress->stream);
	progress->drawn = false;
}

/* One event; takes the object over. */
static void event(struct rt_progress *progress, const char *name, json_t *fields)
{
	_cleanup_json_ json_t *json = fields ? fields : json_object();

	json_object_set_new(json, "event", json_string(name));
	json_object_set_new(json, "seconds", json_real((double)(rt_now_us() - progress->began) / 1e6));
	json_dumpf(json, progress->stream, JSON_COMPACT | JSON_SORT_KEYS);
	fputc('\n', progress->stream);
	fflush(progress->stream);
}

void rt_progress_step(struct rt_progress *progress, const char *doing)
{
	progress->step = doing;
	progress->amount_at = rt_now_us();
	progress->drawn_at = progress->form == RT_PROGRESS_BAR ? 0 : progress->amount_at; /* what is over soon needs no line */
	if (progress->form == RT_PROGRESS_JSON)
		event(progress, "step", json_pack("{s:s}", "doing", doing));
	if (progress->form != RT_PROGRESS_BAR)
		return;
	clear(progress);
	fprintf(progress->stream, "%s", doing);
	progress->drawn = true;
	fflush(progress->stream);
}

void rt_progress_note(struct rt_progress *progress, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	if (!text)
		return;
	if (progress->form == RT_PROGRESS_JSON) {
		event(progress, "note", json_pack("{s:s}", "text", text));
		return;
	}
	clear(progress);
	fprintf(progress->stream, "%s\n", text);
	fflush(progress->stream);
}

/* What the terminal has; a pipe has all the room there is. */
static unsigned columns(struct rt_progress *progress)
{
	struct winsize size;

	return ioctl(fileno(progress->stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void draw(struct rt_progress *progress, unsigned filled, const char *head, const char *amount, const char *outlook)
{
	unsigned room = columns(progress), used = (unsigned)(strlen(head) + strlen(amount)) + 1;

	clear(progress);
	fputs(head, progress->stream);
	/* A line that wraps could not be taken back. */
	for (unsigned i = 0; i < BAR && filled <= BAR && used + BAR < room; i++)
		fputs(i < filled ? (progress->utf8 ? "█" : "#") : (progress->utf8 ? "░" : "."), progress->stream);
	used += filled <= BAR ? BAR : 0;
	fputs(amount, progress->stream);
	if (used + strlen(outlook) < room)
		fputs(outlook, progress->stream);
	progress->drawn = true;
	fflush(progress->stream);
}

/* What the last round tells of the next ones. */
static void outlook(const struct rt_progress *progress, char *text, size_t room)
{
	*text = '\0';
	if (progress->dirty_rate > 0)
		snprintf(text, room, "  written at %.0f MB/s, downtime would be %.0f ms", progress->dirty_rate, (double)progress->predicted_us / 1e3);
}

void rt_progress_amount(struct rt_progress *progress, unsigned round, uint64_t done_bytes, uint64_t of_bytes)
{
	static const uint64_t pause[] = { [RT_PROGRESS_BAR] = DRAW_EVERY_US, [RT_PROGRESS_LINES] = LINE_EVERY_US, [RT_PROGRESS_JSON] = EVENT_EVERY_US };
	uint64_t now = rt_now_us(), elapsed = now - progress->amount_at;
	double rate = elapsed > 0 ? (double)done_bytes / (double)elapsed : 0;
	unsigned filled = of_bytes ? (unsigned)((double)done_bytes / (double)of_bytes * BAR) : BAR + 1;
	char head[96], amount[96], more[96];

	if (done_bytes == 0) {
		progress->amount_at = now;
		if (progress->form != RT_PROGRESS_BAR)
			progress->drawn_at = now;
		elapsed = 0;
		rate = 0;
	}
	if (now - progress->drawn_at < pause[progress->form])
		return;
	progress->drawn_at = now;
	if (progress->form == RT_PROGRESS_JSON) {
		event(progress, "progress", json_pack("{s:i, s:I, s:I}", "round", (int)round, "bytes", (json_int_t)done_bytes, "of", (json_int_t)of_bytes));
		return;
	}
	if (round)
		snprintf(head, sizeof(head), "round %2u ", round);
	else
		snprintf(head, sizeof(head), "%s ", progress->step ? progress->step : "");
	if (of_bytes)
		snprintf(amount, sizeof(amount), " %" PRIu64 "/%" PRIu64 " MiB  %4.0f MB/s", done_bytes >> 20, of_bytes >> 20, rate);
	else
		snprintf(amount, sizeof(amount), " %" PRIu64 " MiB  %4.0f MB/s", done_bytes >> 20, rate);
	outlook(progress, more, sizeof(more));
	if (progress->form == RT_PROGRESS_BAR)
		draw(progress, filled > BAR && of_bytes ? BAR : filled, head, amount, round ? more : "");
	else
		fprintf(progress->stream, "%s%s\n", head, amount + 1);
	fflush(progress->stream);
}

void rt_progress_round(struct rt_progress *progress, unsigned number, const struct rt_report_round *round)
{
	double seconds = (double)round->us / 1e6;

	progress->dirty_rate = round->us > 0 ? (double)round->dirty * 4096 / (double)round->us : 0;
	progress->predicted_us = round->predicted_us;
	if (progress->form == RT_PROGRESS_JSON) {
		event(progress, "round",
		      json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "round", (int)number, "pages", (json_int_t)round->pages, "zeroPages",
				(json_int_t)round->zero, "bytes", (json_int_t)round->wire, "microseconds", (json_int_t)round->us, "dirtyPages",
				(json_int_t)round->dirty, "predictedDowntimeMicroseconds", (json_int_t)round->predicted_us));
		return;
	}
	clear(progress);
	fprintf(progress->stream, "round %2u: %6.1f MiB in %6.0f ms (%5.0f MB/s), %6.1f MiB changed meanwhile, downtime would be %.0f ms\n", number,
		(double)round->wire / (1 << 20), (double)round->us / 1e3, seconds > 0 ? (double)round->wire / 1e6 / seconds : 0,
		(double)round->dirty * 4096 / (1 << 20), (double)round->predicted_us / 1e3);
	fflush(progress->stream);
}

static void row(FILE *out, const struct rt_report *report, const char *name, uint64_t us, const char *what)
{
	fprintf(out, "    %-10s %9.1f ms  %3.0f %%  %s\n", name, (double)us / 1e3, report->downtime_us ? 100.0 * (double)us / (double)report->downtime_us : 0, what);
}

static void finish_text(FILE *out, const struct rt_report *report)
{
	bool renamed = !rt_str_equal(report->target_id, report->id);

	fprintf(out, "\n'%s' runs on %s%s%s%s\n\n", report->id, report->url, renamed ? " as '" : "", renamed ? report->target_id : "", renamed ? "'" : "");
	fprintf(out, "  %-12s %9.1f ms\n", "downtime", (double)report->downtime_us / 1e3);
	row(out, report, "freeze", report->freeze_us, "freezer, last look at memory");
	row(out, report, "dump", report->dump_us, "CRIU; the last pages go out meanwhile");
	row(out, report, "send", report->send_us, "what is left of pages and files, images");
	row(out, report, "restore", report->restore_us, "on the target");
	row(out, report, "resume", report->resume_us, "decision, and running again");
	fprintf(out, "  %-12s %9.2f s    mode %s: %s\n", "total", (double)report->total_us / 1e6, report->mode, report->reason);
	fprintf(out, "  %-12s %9.1f MiB  of %.1f MiB of memory", "sent", (double)report->wire / (1 << 20), (double)report->memory / (1 << 20));
	if (report->round_count > 0)
		fprintf(out, ", in %zu round%s", report->round_count, report->round_count == 1 ? "" : "s");
	if (report->rootfs_us > 0)
		fprintf(out, "; %.1f MiB of files", (double)report->rootfs_bytes / (1 << 20));
	fputc('\n', out);
	if (report->pushed_pages || report->pulled_pages)
		fprintf(out, "  %-12s %9.1f MiB  after it ran, in %.0f ms; %.1f MiB were asked for\n", "followed", (double)report->pushed_pages * 4096 / (1 << 20),
			(double)report->pushed_us / 1e3, (double)report->pulled_pages * 4096 / (1 << 20));
}

static json_t *finish_json(const struct rt_report *report)
{
	return json_pack("{s:b, s:s, s:s, s:i, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:I, s:I, s:I}", "moved", report->moved, "mode",
			 report->mode ? report->mode : "", "reason", report->reason, "rounds", (int)report->round_count, "bytes", (json_int_t)report->wire,
			 "totalMicroseconds", (json_int_t)report->total_us, "memory", (json_int_t)report->memory, "downtime", "total",
			 (json_int_t)report->downtime_us, "freeze", (json_int_t)report->freeze_us, "dump", (json_int_t)report->dump_us, "send",
			 (json_int_t)report->send_us, "restore", (json_int_t)report->restore_us, "resume", (json_int_t)report->resume_us, "frozenPages",
			 (json_int_t)report->final_pages, "pushedPages", (json_int_t)report->pushed_pages, "pulledPages", (json_int_t)report->pulled_pages);
}

void rt_progress_finish(struct rt_progress *progress, const struct rt_report *report, const char *error)
{
	clear(progress);
	if (progress->form == RT_PROGRESS_JSON) {
		json_t *fields = finish_json(report);

		if (error)
			json_object_set_new(fields, "error", json_string(error));
		event(progress, error ? "failed" : "done", fields);
	} else if (report->moved) {
		finish_text(progress->stream, report);
	}
	fflush(progress->stream);
}
