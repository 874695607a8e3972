#include "migrate/message.h"

#include "checkpoint/unpack.h"
#include "runtime/base/str.h"
#include "runtime/container/container.h"

#include <string.h>
#include <sys/random.h>

struct rt_error *rt_migration_id(char ret[RT_MIGRATION_ID + 1])
{
	unsigned char bytes[RT_MIGRATION_ID / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return rt_fail_errno("cannot draw a random number");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return NULL;
}

static bool is_migration_id(const char *text)
{
	return strlen(text) == RT_MIGRATION_ID && strspn(text, "0123456789abcdef") == RT_MIGRATION_ID;
}

struct rt_error *rt_message_offer(const void *bytes, size_t size, Rt__Offer **ret)
{
	ProtobufCMessage *message;
	struct rt_error *err = rt_unpack(&rt__offer__descriptor, bytes, size, &message);
	Rt__Offer *offer;

	if (err)
		return rt_while(err, "the offer");
	offer = (Rt__Offer *)message;
	if (offer->protocol != RT_MIGRATE_PROTOCOL)
		err = rt_fail(RT_PEER, "the source speaks protocol %u, this host speaks %u", offer->protocol, RT_MIGRATE_PROTOCOL);
	else if (!is_migration_id(offer->migration))
		err = rt_fail(RT_PEER, "the offer has no migration id of %d hexadecimal digits", RT_MIGRATION_ID);
	else if (!offer->maker || !offer->cpu)
		err = rt_fail(RT_PEER, "the offer does not say what the source is");
	else
		err = rt_container_check_id(offer->id);
	if (err) {
		rt_unpack_free(message);
		return err;
	}
	*ret = offer;
	return NULL;
}

struct rt_error *rt_message_answer(const void *bytes, size_t size, Rt__Answer **ret)
{
	struct rt_error *err = rt_unpack(&rt__answer__descriptor, bytes, size, (ProtobufCMessage **)ret);

	return err ? rt_while(err, "the target's answer") : NULL;
}

struct rt_error *rt_message_outcome(const void *bytes, size_t size, Rt__Outcome **ret)
{
	Rt__Outcome *outcome = NULL;
	struct rt_error *err = rt_unpack(&rt__outcome__descriptor, bytes, size, (ProtobufCMessage **)&outcome);

	if (!err && outcome->check != ~(uint32_t)outcome->state) {
		rt_unpack_free(&outcome->base);
		err = rt_fail(RT_PEER, "it was changed on the way");
	}
	if (err)
		return rt_while(err, "the target's answer");
	*ret = outcome;
	return NULL;
}

const char *rt_move_state_name(Rt__MoveState state)
{
	switch (state) {
	case RT__MOVE_STATE__MOVE_UNKNOWN:
		return "unknown";
	case RT__MOVE_STATE__MOVE_RECEIVING:
		return "receiving";
	case RT__MOVE_STATE__MOVE_RESTORING:
		return "restoring";
	case RT__MOVE_STATE__MOVE_READY:
		return "ready";
	case RT__MOVE_STATE__MOVE_COMMITTED:
		return "committed";
	case RT__MOVE_STATE__MOVE_RUNNING:
		return "running";
	case RT__MOVE_STATE__MOVE_COMPLETE:
		return "complete";
	case RT__MOVE_STATE__MOVE_ABORTED:
		return "aborted";
	case _RT__MOVE_STATE_IS_INT_SIZE:
		break;
	}
	return "unknown";
}
