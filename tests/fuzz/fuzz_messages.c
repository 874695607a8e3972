/* What a peer may send as an offer, an answer, an outcome, or the network of a container: the first byte says which. Each is refused with one error, or what
 * comes out is usable: an offer's names are no paths, and a configuration stays one. */
#include "checkpoint/unpack.h"
#include "migrate/message.h"
#include "migrate/network.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

static void offer(const uint8_t *bytes, size_t size)
{
	Rt__Offer *message, *again;
	void *packed;
	size_t packed_size;
	struct rt_error *err = rt_message_offer(bytes, size, &message);

	if (err) {
		rt_error_free(err);
		return;
	}
	assert(strlen(message->migration) == RT_MIGRATION_ID && !strchr(message->migration, '/'));
	assert(*message->id && !strchr(message->id, '/') && strcmp(message->id, "..") != 0);
	assert(message->maker && message->cpu && message->network);
	err = rt_pack(&message->base, &packed, &packed_size);
	assert(!err);
	err = rt_message_offer(packed, packed_size, &again);
	assert(!err);
	free(packed);
	rt_unpack_free(&again->base);
	rt_unpack_free(&message->base);
}

static void answer(const uint8_t *bytes, size_t size)
{
	Rt__Answer *message;
	struct rt_error *err = rt_message_answer(bytes, size, &message);

	rt_error_free(err);
	if (err)
		return;
	for (size_t i = 0; i < message->n_reasons; i++)
		assert(strlen(message->reasons[i]) <= size);
	rt_unpack_free(&message->base);
}

static void outcome(const uint8_t *bytes, size_t size)
{
	Rt__Outcome *message;
	struct rt_error *err = rt_message_outcome(bytes, size, &message);

	rt_error_free(err);
	if (err)
		return;
	assert(rt_move_state_name(message->state));
	rt_unpack_free(&message->base);
}

/* Up to a line's end the network, behind it the configuration. */
static void network(const uint8_t *bytes, size_t size)
{
	const uint8_t *end = memchr(bytes, '\n', size);
	char *saved = strndup((const char *)bytes, end ? (size_t)(end - bytes) : size);
	size_t length = end ? size - (size_t)(end + 1 - bytes) : 0;
	char *config = malloc(length + 1);
	json_t *document;
	struct rt_error *err;

	assert(saved && config);
	if (length)
		memcpy(config, end + 1, length);
	config[length] = '\0';
	err = rt_network_put_into(saved, &config, &length);
	if (!err) {
		assert(strlen(config) == length);
		document = json_loadb(config, length, 0, NULL);
		assert(json_is_object(document) && json_is_string(json_object_get(json_object_get(document, "annotations"), "org.rt.netns")));
		json_decref(document);
	}
	rt_error_free(err);
	free(config);
	free(saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static void (*const targets[])(const uint8_t *bytes, size_t size) = { offer, answer, outcome, network };

	if (size > 0)
		targets[*bytes % 4](bytes + 1, size - 1);
	return 0;
}
