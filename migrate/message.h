/* The messages of proto/migrate.proto to bytes and back. What a peer sent is checked here, so that nobody behind sees a bad id. */
#pragma once

#include "runtime/base/error.h"
#include "proto/migrate.pb-c.h"

#define RT_MIGRATE_PROTOCOL 1
#define RT_MIGRATE_CONTENT "application/x-protobuf"
#define RT_MIGRATION_ID 32 /* characters */

/* A new random id, with a 0 behind it. */
struct rt_error *rt_migration_id(char ret[RT_MIGRATION_ID + 1]) _must_check_;

/* Freed by rt_unpack_free(). RT_PEER names what is wrong: no message, another protocol, an id that is none. */
struct rt_error *rt_message_offer(const void *bytes, size_t size, Rt__Offer **ret) _must_check_;
struct rt_error *rt_message_answer(const void *bytes, size_t size, Rt__Answer **ret) _must_check_;
struct rt_error *rt_message_outcome(const void *bytes, size_t size, Rt__Outcome **ret) _must_check_;

const char *rt_move_state_name(Rt__MoveState state); /* "ready" */
