/* rt-systemd: asks systemd, over D-Bus, to start, change or stop the unit of one container. Run by `rt`, never by hand.
 *
 *     rt-systemd --system|--user start|set|stop UNIT
 *
 * `start` and `set` read properties from standard input, one a line; systemd_properties.h has their form. It ends with 0
 * when systemd has done it, else with 1 and one line on standard error. Nothing of `rt` is linked into it. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define SERVICE "org.freedesktop.systemd1"
#define OBJECT "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define JOB_TIMEOUT_US (30 * UINT64_C(1000000))
#define SEPARATOR "\x1f"

struct job {
	const char *path; /* of the job we wait for; NULL until the call has returned */
	char *seen; /* the last job that ended: it may do so before the call returns */
	char result[32];
};

static __attribute__((format(printf, 1, 2))) int complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

static const char *reason(const sd_bus_error *error, int result)
{
	return error->message ? error->message : strerror(-result);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int append_number(sd_bus_message *message, char type, const char *text)
{
	union {
		uint8_t y;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
		int64_t x;
		uint64_t t;
		int b;
	} value = { .t = 0 };
	int64_t is_signed = strtoll(text, NULL, 10);
	uint64_t is_unsigned = strtoull(text, NULL, 10);

	switch (type) {
	case 'y': value.y = (uint8_t)is_unsigned; break;
	case 'n': value.n = (int16_t)is_signed; break;
	case 'q': value.q = (uint16_t)is_unsigned; break;
	case 'i': value.i = (int32_t)is_signed; break;
	case 'u': value.u = (uint32_t)is_unsigned; break;
	case 'x': value.x = is_signed; break;
	case 't': value.t = is_unsigned; break;
	case 'b': value.b = is_unsigned != 0; break;
	default: return -EINVAL;
	}
	return sd_bus_message_append_basic(message, type, &value);
}

static int append_bytes(sd_bus_message *message, const char *hex)
{
	uint8_t bytes[1024];
	size_t count = 0;

	for (; hex[0] && hex[1] && count < sizeof(bytes); hex += 2) {
		char digits[3] = { hex[0], hex[1], '\0' };

		bytes[count++] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return sd_bus_message_append_array(message, 'y', bytes, count);
}

/* Arrays of strings, of numbers, and of pairs of strings. */
static int append_array(sd_bus_message *message, const char *element, char *text)
{
	int result = sd_bus_message_open_container(message, 'a', element);
	char *save = NULL;

	for (char *word = strtok_r(text, SEPARATOR, &save); result >= 0 && word; word = strtok_r(NULL, SEPARATOR, &save)) {
		if (strcmp(element, "(ss)") == 0) {
			const char *second = strtok_r(NULL, SEPARATOR, &save);

			result = second ? sd_bus_message_append(message, "(ss)", word, second) : -EINVAL;
		} else if (strcmp(element, "s") == 0) {
			result = sd_bus_message_append(message, "s", word);
		} else {
			result = append_number(message, element[0], word);
		}
	}
	return result < 0 ? result : sd_bus_message_close_container(message);
}

static int append_value(sd_bus_message *message, const char *signature, char *value)
{
	if (strcmp(signature, "s") == 0)
		return sd_bus_message_append(message, "s", value);
	if (strcmp(signature, "ay") == 0)
		return append_bytes(message, value);
	if (signature[0] == 'a')
		return append_array(message, signature + 1, value);
	return append_number(message, signature[0], value);
}

static int append_property(sd_bus_message *message, char *line, unsigned version)
{
	char *parts[4];

	for (size_t i = 0; i < 4; i++) {
		char *tab = strchr(line, '\t');

		parts[i] = line;
		if (i < 3) {
			if (!tab)
				return -EINVAL;
			*tab = '\0';
			line = tab + 1;
		}
	}
	if (version < strtoul(parts[2], NULL, 10))
		return 0;
	int result = sd_bus_message_open_container(message, 'r', "sv");

	if (result >= 0)
		result = sd_bus_message_append(message, "s", parts[0]);
	if (result >= 0)
		result = sd_bus_message_open_container(message, 'v', parts[1]);
	if (result >= 0)
		result = append_value(message, parts[1], parts[3]);
	if (result >= 0)
		result = sd_bus_message_close_container(message);
	return result < 0 ? result : sd_bus_message_close_container(message);
}

static int append_properties(sd_bus_message *message, const char *input, unsigned version)
{
	char *copy = strdup(input), *save = NULL;
	int result = copy ? sd_bus_message_open_container(message, 'a', "(sv)") : -ENOMEM;

	for (char *line = result < 0 ? NULL : strtok_r(copy, "\n", &save); result >= 0 && line; line = strtok_r(NULL, "\n", &save))
		result = append_property(message, line, version);
	free(copy);
	return result < 0 ? result : sd_bus_message_close_container(message);
}

static unsigned manager_version(sd_bus *bus)
{
	char *text = NULL;
	unsigned version = 0;

	if (sd_bus_get_property_string(bus, SERVICE, OBJECT, MANAGER, "Version", NULL, &text) >= 0)
		version = (unsigned)strtoul(text + strcspn(text, "0123456789"), NULL, 10);
	free(text);
	return version;
}

static int job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct job *job = userdata;
	const char *path, *unit, *result;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	if (job->path && strcmp(path, job->path) != 0)
		return 0;
	free(job->seen);
	job->seen = strdup(path);
	snprintf(job->result, sizeof(job->result), "%s", result);
	return 0;
}

static int wait_for_job(sd_bus *bus, struct job *job, const char *what)
{
	uint64_t deadline = now_us() + JOB_TIMEOUT_US;

	while (!job->seen || strcmp(job->seen, job->path) != 0) {
		uint64_t now = now_us();
		int result = sd_bus_process(bus, NULL);

		if (result < 0)
			return complain("lost the bus: %s", strerror(-result));
		if (result > 0)
			continue;
		if (now >= deadline)
			return complain("systemd did not %s the unit within 30 s", what);
		result = sd_bus_wait(bus, deadline - now);
		if (result < 0 && result != -EINTR)
			return complain("lost the bus: %s", strerror(-result));
	}
	if (strcmp(job->result, "done") != 0 && strcmp(job->result, "skipped") != 0)
		return complain("systemd's job to %s the unit ended with '%s'", what, job->result);
	return 0;
}

/* Sends the call and waits for the job it started. */
static int call_for_job(sd_bus *bus, sd_bus_message *call, const char *what, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	struct job job = { NULL };
	sd_bus_slot *slot = NULL;
	int result = sd_bus_match_signal(bus, &slot, SERVICE, OBJECT, MANAGER, "JobRemoved", job_removed, &job);

	if (result >= 0)
		result = sd_bus_call(bus, call, JOB_TIMEOUT_US, error, &reply);
	if (result >= 0)
		result = sd_bus_message_read(reply, "o", &job.path);
	if (result >= 0)
		result = wait_for_job(bus, &job, what);
	sd_bus_slot_unref(slot);
	sd_bus_message_unref(reply);
	free(job.seen);
	return result;
}

static void reset_failed(sd_bus *bus, const char *unit)
{
	sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
}

static int try_start(sd_bus *bus, const char *unit, const char *input, sd_bus_error *error)
{
	sd_bus_message *call = NULL;
	int result = sd_bus_message_new_method_call(bus, &call, SERVICE, OBJECT, MANAGER, "StartTransientUnit");

	if (result >= 0)
		result = sd_bus_message_append(call, "ss", unit, "replace");
	if (result >= 0)
		result = append_properties(call, input, manager_version(bus));
	if (result >= 0)
		result = sd_bus_message_append(call, "a(sa(sv))", 0);
	if (result >= 0)
		result = call_for_job(bus, call, "start", error);
	sd_bus_message_unref(call);
	return result;
}

/* A unit of this name that failed once stays there until somebody says that it was seen. */
static int start(sd_bus *bus, const char *unit, const char *input)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int result = try_start(bus, unit, input, &error);

	if (result < 0 && sd_bus_error_has_name(&error, "org.freedesktop.systemd1.UnitExists")) {
		sd_bus_error_free(&error);
		reset_failed(bus, unit);
		result = try_start(bus, unit, input, &error);
	}
	if (result < 0)
		complain("cannot start the unit: %s", reason(&error, result));
	sd_bus_error_free(&error);
	return result != 0;
}

static int set(sd_bus *bus, const char *unit, const char *input)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *call = NULL;
	int result = sd_bus_message_new_method_call(bus, &call, SERVICE, OBJECT, MANAGER, "SetUnitProperties");

	if (result >= 0)
		result = sd_bus_message_append(call, "sb", unit, 1);
	if (result >= 0)
		result = append_properties(call, input, manager_version(bus));
	if (result >= 0)
		result = sd_bus_call(bus, call, 0, &error, NULL);
	if (result < 0)
		complain("cannot change the unit: %s", reason(&error, result));
	sd_bus_message_unref(call);
	sd_bus_error_free(&error);
	return result < 0;
}

static int stop(sd_bus *bus, const char *unit)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *call = NULL;
	int result = sd_bus_message_new_method_call(bus, &call, SERVICE, OBJECT, MANAGER, "StopUnit");

	if (result >= 0)
		result = sd_bus_message_append(call, "ss", unit, "replace");
	if (result >= 0)
		result = call_for_job(bus, call, "stop", &error);
	if (result < 0 && sd_bus_error_has_name(&error, "org.freedesktop.systemd1.NoSuchUnit"))
		result = 0;
	if (result < 0)
		complain("cannot stop the unit: %s", reason(&error, result));
	reset_failed(bus, unit);
	sd_bus_message_unref(call);
	sd_bus_error_free(&error);
	return result != 0;
}

static char *read_input(void)
{
	char *text = NULL;
	size_t room = 0;

	return getdelim(&text, &room, '\0', stdin) < 0 && !text ? NULL : text;
}

int main(int argc, char **argv)
{
	bool user = argc > 1 && strcmp(argv[1], "--user") == 0;
	char *input = NULL;
	sd_bus *bus = NULL;
	int result;

	if (argc != 4)
		return complain("usage: rt-systemd --system|--user start|set|stop UNIT");
	if (strcmp(argv[2], "stop") != 0 && !(input = read_input()))
		return complain("no properties on standard input");
	result = user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
	if (result < 0) {
		complain("cannot reach systemd on the %s bus: %s", user ? "user" : "system", strerror(-result));
		result = 1;
	} else if (strcmp(argv[2], "start") == 0) {
		result = start(bus, argv[3], input);
	} else if (strcmp(argv[2], "set") == 0) {
		result = set(bus, argv[3], input);
	} else if (strcmp(argv[2], "stop") == 0) {
		result = stop(bus, argv[3]);
	} else {
		result = complain("'%s' is not something rt-systemd does", argv[2]);
	}
	sd_bus_flush_close_unref(bus);
	free(input);
	return result;
}
