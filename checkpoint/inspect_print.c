#include "checkpoint/inspect.h"

#include <inttypes.h>
#include <string.h>

/* Files and sockets a process has open beyond these are counted, not listed. */
#define FILES_SHOWN 20

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

#define SIZE_ROOM 24

static const char *size_text(uint64_t bytes, char text[SIZE_ROOM])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(text, SIZE_ROOM, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

static const char *pages_text(const json_t *memory, const char *key, char text[SIZE_ROOM])
{
	return size_text((uint64_t)number_of(memory, key) * (uint64_t)sysconf(_SC_PAGESIZE), text);
}

static void print_head(FILE *stream, const json_t *document)
{
	const json_t *checkpoint = json_object_get(document, "checkpoint"), *maker = json_object_get(document, "maker");
	const json_t *container = json_object_get(document, "container"), *images = json_object_get(document, "images");
	const json_t *memory = json_object_get(document, "memory");
	json_int_t criu = number_of(maker, "criu");
	char size[SIZE_ROOM];

	if (container)
		fprintf(stream, "container   %s%s\n", text_of(container, "id"),
			json_is_true(json_object_get(container, "paused")) ? " (paused)" : "");
	if (checkpoint)
		fprintf(stream, "checkpoint  %s, %s\n", text_of(checkpoint, "id"), text_of(checkpoint, "created"));
	else
		fprintf(stream, "checkpoint  without a manifest: not made by rt\n");
	if (maker)
		fprintf(stream,
			"made by     rt %s, criu %" JSON_INTEGER_FORMAT ".%" JSON_INTEGER_FORMAT
			".%" JSON_INTEGER_FORMAT ", Linux %s (%s) on %s\n",
			text_of(maker, "rt"), criu / 10000, criu / 100 % 100, criu % 100, text_of(maker, "kernel"),
			text_of(maker, "architecture"), text_of(maker, "host"));
	if (json_object_get(document, "hostname"))
		fprintf(stream, "hostname    %s\n", text_of(document, "hostname"));
	fprintf(stream, "images      %" JSON_INTEGER_FORMAT " files, %s\n", number_of(images, "files"),
		size_text((uint64_t)number_of(images, "bytes"), size));
	fprintf(stream, "memory      %s", pages_text(memory, "pages", size));
	if (number_of(memory, "parent_pages"))
		fprintf(stream, ", %s in the parent", pages_text(memory, "parent_pages", size));
	if (number_of(memory, "lazy_pages"))
		fprintf(stream, ", %s to be fetched", pages_text(memory, "lazy_pages", size));
	fprintf(stream, " in %" JSON_INTEGER_FORMAT " processes\n", number_of(memory, "processes"));
}

struct branch {
	char text[4096]; /* the bars to the left */
	size_t length;
};

static void print_files(FILE *stream, const json_t *process, const struct branch *branch, bool has_children)
{
	const json_t *files = json_object_get(process, "files"), *file;
	size_t index;

	json_array_foreach((json_t *)files, index, file)
	{
		if (index == FILES_SHOWN) {
			fprintf(stream, "%s%s   ... %zu more\n", branch->text, has_children ? "|" : " ",
				json_array_size(files) - index);
			return;
		}
		fprintf(stream, "%s%s   %3" JSON_INTEGER_FORMAT " %-8s %s%s\n", branch->text, has_children ? "|" : " ",
			number_of(file, "fd"), text_of(file, "kind"), text_of(file, "text"),
			json_object_get(file, "deleted") ? " (deleted)" : "");
	}
}

static void print_process(FILE *stream, const json_t *process, struct branch *branch, bool last)
{
	const json_t *children = json_object_get(process, "children"), *memory = json_object_get(process, "memory"),
		     *child;
	size_t kept = branch->length, index;
	char size[SIZE_ROOM];

	fprintf(stream, "%s%s-- %" JSON_INTEGER_FORMAT " %s", branch->text, last ? "`" : "|", number_of(process, "pid"),
		text_of(process, "command"));
	fprintf(stream, "  uid %" JSON_INTEGER_FORMAT ", %s", number_of(process, "uid"),
		pages_text(memory, "pages", size));
	if (number_of(process, "threads") > 1)
		fprintf(stream, ", %" JSON_INTEGER_FORMAT " threads", number_of(process, "threads"));
	if (strcmp(text_of(process, "state"), "running") != 0 && *text_of(process, "state"))
		fprintf(stream, ", %s", text_of(process, "state"));
	if (strcmp(text_of(process, "seccomp"), "filter") == 0)
		fprintf(stream, ", seccomp");
	fprintf(stream, "%s%s\n", *text_of(process, "program") ? ", " : "", text_of(process, "program"));
	/* A tree too deep for the bars is still printed, only without further ones. */
	if (branch->length + 5 < sizeof(branch->text)) {
		strcpy(branch->text + branch->length, last ? "    " : "|   ");
		branch->length += 4;
	}
	print_files(stream, process, branch, json_array_size(children) > 0);
	json_array_foreach((json_t *)children, index, child)
		print_process(stream, child, branch, index + 1 == json_array_size(children));
	branch->length = kept;
	branch->text[kept] = '\0';
}

static void print_sockets(FILE *stream, const json_t *sockets)
{
	const json_t *socket;
	size_t index;

	if (json_array_size(sockets) > 0)
		fprintf(stream, "sockets\n");
	json_array_foreach((json_t *)sockets, index, socket)
	{
		if (json_object_get(socket, "local"))
			fprintf(stream, "    %-5s %s%s%s  %s", text_of(socket, "kind"), text_of(socket, "local"),
				*text_of(socket, "peer") ? " -> " : "", text_of(socket, "peer"),
				text_of(socket, "state"));
		else
			fprintf(stream, "    unix  %s  %s, %s%s", text_of(socket, "name"), text_of(socket, "type"),
				text_of(socket, "state"),
				json_is_true(json_object_get(socket, "external")) ? ", to the outside" : "");
		if (number_of(socket, "receive_queue") || number_of(socket, "send_queue"))
			fprintf(stream, ", queued %" JSON_INTEGER_FORMAT " in, %" JSON_INTEGER_FORMAT " out",
				number_of(socket, "receive_queue"), number_of(socket, "send_queue"));
		fprintf(stream, "\n");
	}
}

static void print_mounts(FILE *stream, const json_t *mounts)
{
	const json_t *mount;
	size_t index;

	if (json_array_size(mounts) > 0)
		fprintf(stream, "mounts\n");
	json_array_foreach((json_t *)mounts, index, mount)
		fprintf(stream, "    %-28s %s%s\n", text_of(mount, "destination"), text_of(mount, "type"),
			json_is_true(json_object_get(mount, "external")) ? ", from outside" : "");
}

static void print_rest(FILE *stream, const json_t *document)
{
	const json_t *dump = json_object_get(json_object_get(document, "timings"), "dump");
	const json_t *restore = json_object_get(json_object_get(document, "timings"), "restore"), *item;
	size_t index;

	json_array_foreach(json_object_get(document, "network"), index, item)
		fprintf(stream, "%s%s (%s, %s)%s", index ? ", " : "network     ", text_of(item, "name"),
			text_of(item, "type"), json_is_true(json_object_get(item, "up")) ? "up" : "down",
			index + 1 == json_array_size(json_object_get(document, "network")) ? "\n" : "");
	json_array_foreach(json_object_get(document, "namespaces"), index, item) fprintf(
		stream, "%s%s (%s)%s", index ? ", " : "namespaces  ", text_of(item, "type"), text_of(item, "origin"),
		index + 1 == json_array_size(json_object_get(document, "namespaces")) ? "\n" : "");
	if (dump)
		fprintf(stream, "dump        frozen %.1f ms, %" JSON_INTEGER_FORMAT " pages written in %.1f ms\n",
			(double)number_of(dump, "frozen_us") / 1000, number_of(dump, "pages_written"),
			(double)number_of(dump, "memory_write_us") / 1000);
	if (restore)
		fprintf(stream, "restore     %.1f ms, %" JSON_INTEGER_FORMAT " pages\n",
			(double)number_of(restore, "restore_us") / 1000, number_of(restore, "pages_restored"));
}

struct rt_error *rt_inspect_print(FILE *stream, const json_t *document)
{
	const json_t *processes = json_object_get(document, "processes"), *process;
	struct branch branch = { .length = 0 };
	size_t index;

	print_head(stream, document);
	json_array_foreach((json_t *)processes, index, process)
		print_process(stream, process, &branch, index + 1 == json_array_size(processes));
	print_sockets(stream, json_object_get(document, "sockets"));
	print_mounts(stream, json_object_get(document, "mounts"));
	print_rest(stream, document);
	if (fflush(stream) != 0 || ferror(stream))
		return rt_fail_errno("cannot write");
	return NULL;
}
