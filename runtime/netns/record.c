#include "runtime/netns/record.h"

#include "runtime/base/digest.h"
#include "runtime/base/str.h"

#include <ctype.h>

enum { VERSION = 1 };

const char *rt_record_phase_name(enum rt_record_phase phase)
{
	switch (phase) {
	case RT_RECORD_MAKING:
		return "making";
	case RT_RECORD_UP:
		return "up";
	case RT_RECORD_HELD:
		return "held";
	case RT_RECORD_DETACHED:
		return "detached";
	}
	return "?";
}

static bool parse_phase(const char *text, enum rt_record_phase *ret)
{
	for (int phase = RT_RECORD_MAKING; phase <= RT_RECORD_DETACHED; phase++)
		if (rt_str_equal(rt_record_phase_name((enum rt_record_phase)phase), text)) {
			*ret = (enum rt_record_phase)phase;
			return true;
		}
	return false;
}

struct rt_error *rt_record_id_check(const char *id)
{
	size_t length = strlen(id);
	bool fine = length > 0 && id[0] != '.';

	for (size_t i = 0; i < length && fine; i++)
		fine = isalnum((unsigned char)id[i]) || strchr("_+-.", id[i]);
	if (!fine)
		return rt_fail(RT_USAGE, "'%s' cannot be a container's id", id);
	if (length + sizeof(".json.new") > RT_RECORD_ID_ROOM)
		return rt_fail(RT_USAGE, "container id '%s' is too long", id);
	return NULL;
}

static void derive_ifname(const char *prefix, const char *state_directory, const char *id, char ret[IFNAMSIZ])
{
	char digest[RT_DIGEST_TEXT_ROOM], both[2 * RT_DIGEST_TEXT_ROOM];

	/* Digests of digests: as long as they are, they need no mark between them. */
	rt_digest_bytes(state_directory, strlen(state_directory), digest);
	memcpy(both, digest, RT_DIGEST_TEXT_ROOM);
	rt_digest_bytes(id, strlen(id), digest);
	memcpy(both + RT_DIGEST_TEXT_ROOM, digest, RT_DIGEST_TEXT_ROOM);
	rt_digest_bytes(both, sizeof(both), digest);
	snprintf(ret, IFNAMSIZ, "%.2s%.12s", prefix, digest);
}

void rt_record_host_ifname(const char *state_directory, const char *id, char ret[IFNAMSIZ])
{
	derive_ifname("rt", state_directory, id, ret);
}

void rt_record_catcher_ifname(const char *state_directory, const char *id, char ret[IFNAMSIZ])
{
	derive_ifname("rc", state_directory, id, ret);
}

void rt_record_namespace_path(const struct rt_record *record, char ret[RT_RECORD_PATH_ROOM])
{
	if (*record->path)
		memcpy(ret, record->path, RT_RECORD_PATH_ROOM);
	else
		snprintf(ret, RT_RECORD_PATH_ROOM, "/proc/%d/ns/net", record->pid);
}

struct rt_error *rt_record_to_json(const struct rt_record *record, json_t **ret)
{
	_cleanup_json_ json_t *json = json_pack("{s:i, s:b, s:s, s:s, s:i, s:s, s:I, s:I, s:s}", "version", VERSION, "guarded", record->guarded, "id", record->id, "phase",
						rt_record_phase_name(record->phase), "pid", (int)record->pid, "netns", record->path, "device",
						(json_int_t)record->device, "inode", (json_int_t)record->inode, "host_ifname",
						record->host_ifname);
	struct rt_error *err = json ? rt_network_to_json(&record->network, json) : rt_error_oom();

	if (!err)
		*ret = rt_take_ptr(json);
	return err;
}

static struct rt_error *copy_text(const struct rt_json *object, const char *key, char *room, size_t size)
{
	const char *text = NULL;
	struct rt_error *err = rt_json_get_string(object, key, &text);

	if (err || !text)
		return err;
	if (strlen(text) >= size)
		return rt_json_fail(object, key, "is too long");
	memcpy(room, text, strlen(text) + 1);
	return NULL;
}

struct rt_error *rt_record_from_json(const struct rt_json *object, struct rt_record *ret)
{
	struct rt_record record = { .phase = RT_RECORD_MAKING };
	const char *phase = NULL;
	int32_t version = 0, pid = 0;
	struct rt_error *err = rt_json_get_i32(object, "version", &version);

	if (!err && version != VERSION)
		err = rt_json_fail(object, "version", "is not %d", VERSION);
	if (!err)
		err = copy_text(object, "id", record.id, sizeof(record.id));
	if (!err)
		err = rt_record_id_check(record.id);
	if (!err)
		err = rt_json_get_string(object, "phase", &phase);
	if (!err && !(phase && parse_phase(phase, &record.phase)))
		err = rt_json_fail(object, "phase", "is none that there is");
	if (!err)
		err = rt_json_get_bool(object, "guarded", &record.guarded);
	if (!err)
		err = rt_json_get_i32(object, "pid", &pid);
	if (!err)
		err = copy_text(object, "netns", record.path, sizeof(record.path));
	if (!err)
		err = rt_json_get_u64(object, "device", &record.device);
	if (!err)
		err = rt_json_get_u64(object, "inode", &record.inode);
	if (!err)
		err = copy_text(object, "host_ifname", record.host_ifname, sizeof(record.host_ifname));
	if (!err)
		err = rt_network_from_json(object, &record.network);
	if (err)
		return err;
	record.pid = pid;
	*ret = record;
	return NULL;
}
