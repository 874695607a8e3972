/* A migration on the target, shared by its files only: move.c is what requests make of it, move_worker.c its worker: who starts and hears it, and what its death means.
 * All of it is called under the lock. */
#pragma once

#include "migrate/move.h"

void rt_move_set_state(struct rt_move *move, Rt__MoveState state);
/* The first one counts. */
void rt_move_set_reason(struct rt_move *move, const char *text);
/* Why it came to nothing. */
struct rt_error *rt_move_failure(const struct rt_move *move) _must_check_;
/* The images hold the container's memory. */
void rt_move_drop_images(struct rt_move *move);
/* The worker gets the page sets: it serves the tasks from them. */
struct rt_error *rt_move_give_sets(struct rt_move *move) _must_check_;
