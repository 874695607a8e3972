#include "migrate/adaptive.h"

/* Before the first piece has told. */
#define SPEED_GUESS 200000000u
/* So many times quicker than the link: the other half of a processor stays with the container. */
#define TIMES_QUICKER 2
/* After a piece that did not lose an eighth. */
#define FUTILE_PIECES 15
#define SECOND_US 1000000u

bool rt_adaptive_wants(struct rt_adaptive *adaptive, uint64_t rate)
{
	uint64_t speed = adaptive->speed ? adaptive->speed : SPEED_GUESS;

	if (rate == 0)
		return false;
	if (adaptive->futile > 0) {
		adaptive->futile--;
		return false;
	}
	if (rate <= speed / TIMES_QUICKER)
		return true;
	/* It may have been slow only because something else ran: little by little that is forgotten. */
	adaptive->speed = speed + speed / 32;
	return false;
}

void rt_adaptive_learn(struct rt_adaptive *adaptive, uint64_t size, uint64_t stored, uint64_t us)
{
	uint64_t speed = size * SECOND_US / (us ? us : 1);

	adaptive->speed = adaptive->speed ? (3 * adaptive->speed + speed) / 4 : speed;
	if (stored > size - size / 8)
		adaptive->futile = FUTILE_PIECES;
}
