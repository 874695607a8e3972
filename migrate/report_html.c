#include "migrate/progress.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define WIDTH 960.0 /* of the drawings */

static void escaped(FILE *out, const char *text)
{
	for (; text && *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

static void fact(FILE *out, const char *name, const char *value)
{
	fprintf(out, "<tr><th>%s</th><td>", name);
	escaped(out, value);
	fputs("</td></tr>\n", out);
}

struct part {
	const char *name, *colour, *what;
	uint64_t us;
};

static void head(FILE *out, const struct rt_report *report)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Migration of ", out);
	escaped(out, report->id);
	fputs("</title>\n<style>body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
	      "table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
	      "svg{width:100%;height:auto}text{font:12px system-ui,sans-serif}svg text.in{fill:#fff}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}}"
	      "</style></head><body>\n<h1>Migration of ",
	      out);
	escaped(out, report->id);
	fputs("</h1>\n<table>\n", out);
	fact(out, "to", report->url);
	fact(out, "as", report->target_id);
	fact(out, "outcome", report->moved ? "it runs there" : "it runs here");
	fact(out, "mode", report->mode);
	fact(out, "because", report->reason);
	fact(out, "changes found by", report->tracker);
	fact(out, "compression", report->compression);
	fact(out, "root filesystem", report->rootfs);
	fprintf(out, "<tr><th>memory</th><td>%.1f MiB</td></tr>\n<tr><th>sent</th><td>%.1f MiB</td></tr>\n<tr><th>in all</th><td>%.2f s</td></tr>\n",
		(double)report->memory / (1 << 20), (double)report->wire / (1 << 20), (double)report->total_us / 1e6);
	fputs("</table>\n", out);
}

/* The whole of it along one line: root filesystem, rounds, downtime, what followed. */
static void timeline(FILE *out, const struct rt_report *report)
{
	double scale = report->total_us ? WIDTH / (double)report->total_us : 0;

	fputs("<h2>Timeline</h2>\n<svg viewBox=\"0 0 960 70\" role=\"img\" aria-label=\"timeline\">\n<rect x=\"0\" y=\"20\" width=\"960\" height=\"24\" fill=\"#e8e8e8\"/>\n",
	      out);
	for (size_t i = 0; i < report->round_count; i++) {
		const struct rt_report_round *round = &report->rounds[i];

		fprintf(out, "<rect x=\"%.2f\" y=\"20\" width=\"%.2f\" height=\"24\" fill=\"%s\"><title>round %zu: %.1f MiB in %.1f ms</title></rect>\n",
			(double)round->begin_us * scale, (double)round->us * scale, i % 2 ? "#5b9bd5" : "#3a7abd", i + 1,
			(double)round->wire / (1 << 20), (double)round->us / 1e3);
	}
	if (report->downtime_us)
		fprintf(out, "<rect x=\"%.2f\" y=\"14\" width=\"%.2f\" height=\"36\" fill=\"#c0392b\"><title>downtime: %.1f ms</title></rect>\n",
			(double)report->frozen_at_us * scale, (double)report->downtime_us * scale < 1 ? 1 : (double)report->downtime_us * scale,
			(double)report->downtime_us / 1e3);
	if (report->pushed_us)
		fprintf(out, "<rect x=\"%.2f\" y=\"20\" width=\"%.2f\" height=\"24\" fill=\"#e0a030\"><title>memory that followed: %.1f ms</title></rect>\n",
			(double)(report->frozen_at_us + report->downtime_us) * scale, (double)report->pushed_us * scale, (double)report->pushed_us / 1e3);
	fprintf(out, "<text x=\"0\" y=\"64\">0</text><text x=\"960\" y=\"64\" text-anchor=\"end\">%.2f s</text>\n</svg>\n"
		"<p><span style=\"color:#3a7abd\">&#9632;</span> rounds <span style=\"color:#c0392b\">&#9632;</span> downtime "
		"<span style=\"color:#e0a030\">&#9632;</span> memory that followed</p>\n",
		(double)report->total_us / 1e6);
}

static void downtime(FILE *out, const struct rt_report *report)
{
	const struct part parts[] = {
		{ "freeze", "#7f8c8d", "freezer, last look at memory", report->freeze_us },
		{ "dump", "#8e44ad", "CRIU; the last pages go out meanwhile", report->dump_us },
		{ "send", "#2980b9", "what is left of pages and files, images", report->send_us },
		{ "restore", "#27ae60", "on the target", report->restore_us },
		{ "resume", "#d35400", "decision, and running again", report->resume_us },
	};
	double scale = report->downtime_us ? WIDTH / (double)report->downtime_us : 0, x = 0;

	fprintf(out, "<h2>Downtime: %.1f ms</h2>\n<svg viewBox=\"0 0 960 40\" role=\"img\" aria-label=\"downtime\">\n", (double)report->downtime_us / 1e3);
	for (size_t i = 0; i < RT_ARRAY_SIZE(parts); i++) {
		fprintf(out, "<rect x=\"%.2f\" y=\"5\" width=\"%.2f\" height=\"30\" fill=\"%s\"><title>%s: %.1f ms</title></rect>\n", x, (double)parts[i].us * scale,
			parts[i].colour, parts[i].name, (double)parts[i].us / 1e3);
		/* Where its name has room. */
		if ((double)parts[i].us * scale > 60)
			fprintf(out, "<text class=\"in\" x=\"%.2f\" y=\"24\" text-anchor=\"middle\">%s</text>\n", x + (double)parts[i].us * scale / 2, parts[i].name);
		x += (double)parts[i].us * scale;
	}
	fputs("</svg>\n<table>\n", out);
	for (size_t i = 0; i < RT_ARRAY_SIZE(parts); i++)
		fprintf(out, "<tr><td><span style=\"color:%s\">&#9632;</span> %s</td><td class=\"n\">%.1f ms</td><td>%s</td></tr>\n", parts[i].colour,
			parts[i].name, (double)parts[i].us / 1e3, parts[i].what);
	fputs("</table>\n", out);
}

/* Each round's bytes, sent and changed meanwhile, side by side: whether it converges is seen at once. */
static void chart(FILE *out, const struct rt_report *report)
{
	double step = WIDTH / (double)report->round_count, width = step * 0.4 < 40 ? step * 0.4 : 40, most = 1;

	for (size_t i = 0; i < report->round_count; i++) {
		double sent = (double)report->rounds[i].wire, changed = (double)report->rounds[i].dirty * 4096;

		most = sent > most ? sent : most;
		most = changed > most ? changed : most;
	}
	fputs("<svg viewBox=\"0 0 960 140\" role=\"img\" aria-label=\"rounds\">\n", out);
	for (size_t i = 0; i < report->round_count; i++) {
		double sent = (double)report->rounds[i].wire / most * 120, changed = (double)report->rounds[i].dirty * 4096 / most * 120;

		fprintf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#3a7abd\"><title>round %zu sent</title></rect>\n", step * (double)i,
			120 - sent, width, sent, i + 1);
		fprintf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#e0a030\"><title>changed meanwhile</title></rect>\n",
			step * (double)i + width, 120 - changed, width, changed);
		if (step > 20)
			fprintf(out, "<text x=\"%.2f\" y=\"136\">%zu</text>\n", step * (double)i, i + 1);
	}
	fputs("</svg>\n<p><span style=\"color:#3a7abd\">&#9632;</span> sent <span style=\"color:#e0a030\">&#9632;</span> changed meanwhile</p>\n", out);
}

static void rounds(FILE *out, const struct rt_report *report)
{
	fputs("<h2>Rounds</h2>\n", out);
	chart(out, report);
	fputs("<table>\n<tr><th>round</th><th>sent</th><th>zero pages</th><th>time</th><th>rate</th><th>changed meanwhile</th>"
	      "<th>written at</th><th>downtime would be</th></tr>\n",
	      out);
	for (size_t i = 0; i < report->round_count; i++) {
		const struct rt_report_round *round = &report->rounds[i];

		fprintf(out,
			"<tr><td class=\"n\">%zu</td><td class=\"n\">%.1f MiB</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.1f ms</td><td class=\"n\">%.0f MB/s</td>"
			"<td class=\"n\">%.1f MiB</td><td class=\"n\">%.0f MB/s</td><td class=\"n\">%.1f ms</td></tr>\n",
			i + 1, (double)round->wire / (1 << 20), round->zero, (double)round->us / 1e3,
			round->us ? (double)round->wire / (double)round->us : 0, (double)round->dirty * 4096 / (1 << 20),
			round->us ? (double)round->dirty * 4096 / (double)round->us : 0, (double)round->predicted_us / 1e3);
	}
	fputs("</table>\n", out);
}

struct rt_error *rt_report_write_html(const struct rt_report *report, const char *file)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return rt_error_oom();
	head(out, report);
	timeline(out, report);
	if (report->downtime_us)
		downtime(out, report);
	if (report->round_count)
		rounds(out, report);
	fputs("</body></html>\n", out);
	if (fclose(out) != 0)
		return rt_error_oom();
	err = rt_replace_file_at(AT_FDCWD, file, text, size, 0644);
	return err ? rt_while(err, "writing the report '%s'", file) : NULL;
}
