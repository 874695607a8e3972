#include "migrate/lazy_private.h"

#include "runtime/base/io.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define PREFETCH_FILE_MAX (64u << 20)
/* Runs that one push passes over. */
#define LOOKS_MAX 256

/* "space address pages" */
static bool parse_line(char *line, struct rt_lazy_piece *ret)
{
	uint64_t *const fields[] = { &ret->space, &ret->start, &ret->pages };

	for (size_t i = 0; i < RT_ARRAY_SIZE(fields); i++) {
		char *end;

		while (*line == ' ')
			line++;
		if (!isdigit((unsigned char)*line))
			return false;
		errno = 0;
		*fields[i] = strtoull(line, &end, 0);
		if (errno != 0 || (*end != ' ' && *end != 0))
			return false;
		line = end;
	}
	return *line == 0;
}

struct rt_error *rt_lazy_read_prefetch(struct rt_lazy *lazy)
{
	_cleanup_free_ char *text = NULL;
	const char *name = lazy->options.prefetch_file;
	struct rt_error *err;
	char *rest, *line;
	size_t number = 1;

	err = rt_read_file_at(AT_FDCWD, name, PREFETCH_FILE_MAX, &text, NULL);
	if (err)
		return rt_while(err, "reading the record '%s'", name);
	for (rest = text; (line = strsep(&rest, "\n")); number++) {
		struct rt_lazy_piece piece;

		if (*line == 0)
			continue;
		if (!parse_line(line, &piece))
			return rt_fail(RT_CONFIG, "line %zu of the record '%s' is not 'space address pages'", number, name);
		err = rt_lazy_pieces_add(&lazy->prefetch, piece.space, piece.start, piece.pages);
		if (err)
			return err;
	}
	return NULL;
}

static bool can_push(const struct rt_lazy_task *task)
{
	return task->map.left > 0 && !task->stalled && !task->retry && !task->gone;
}

/* The first of these can be pushed now. */
static bool can_push_piece(const struct rt_lazy *lazy, const struct rt_lazy_pieces *pieces)
{
	if (pieces->at == pieces->count)
		return false;
	for (const struct rt_lazy_task *task = lazy->tasks; task; task = task->next)
		if (task->space->number == pieces->pieces[pieces->at].space && task->retry && !task->gone)
			return false;
	return true;
}

bool rt_lazy_can_push(const struct rt_lazy *lazy)
{
	if (!lazy->restored)
		return false;
	if (can_push_piece(lazy, &lazy->prefetch) || can_push_piece(lazy, &lazy->came))
		return true;
	for (const struct rt_lazy_task *task = lazy->tasks; task && !lazy->options.on_demand; task = task->next)
		if (can_push(task))
			return true;
	return false;
}

/* Pages of the run that are in the set go in; *ret_pages is how far it went, 0 where the task wants a retry. */
static struct rt_error *push_run(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_run *whole, uint64_t *ret_pages, bool *ret_pushed)
{
	uint64_t left = task->map.left;
	struct rt_lazy_run run = *whole;
	struct rt_error *err = NULL;
	enum rt_page_state state = rt_lazy_look(lazy, task, run.index, run.pages, &run.pages);

	*ret_pages = run.pages;
	switch (state) {
	case RT_PAGE_DATA:
		if (run.pages > RT_LAZY_CHUNK_MAX)
			run.pages = RT_LAZY_CHUNK_MAX;
		err = rt_lazy_place_data(lazy, task, &run);
		*ret_pages = task->retry || task->gone ? 0 : run.pages;
		*ret_pushed = true;
		break;
	case RT_PAGE_ZERO:
		/* What nobody put there is zero once the userfaultfd is closed, and before that by serve_unlisted(). */
		rt_lazy_map_mark(&task->map, run.index, run.pages);
		break;
	case RT_PAGE_ABSENT:
	case RT_PAGE_GONE:
		break;
	}
	lazy->status.pushed += left - task->map.left;
	return err;
}

/* The next chunk behind the cursor, and after the last page again from the first. Where there is none from the first to the last, the task is stalled: what arrives later is
 * told. Much may be absent or zero, and is passed over at once, but not for as long as to keep those waiting who want something. */
static struct rt_error *push_task(struct rt_lazy *lazy, struct rt_lazy_task *task)
{
	struct rt_error *err = NULL;
	bool pushed = false;
	uint64_t pages;

	for (unsigned looks = 0; !err && !pushed && !task->stalled && task->map.left > 0 && looks < LOOKS_MAX; looks++) {
		struct rt_lazy_run run;

		if (!rt_lazy_map_next(&task->map, task->cursor, UINT64_MAX, &run)) {
			task->stalled = task->dry;
			task->dry = true;
			task->cursor = 0;
			continue;
		}
		if (rt_lazy_look(lazy, task, run.index, run.pages, &pages) == RT_PAGE_DATA)
			run.pages = pages < lazy->chunk ? pages : lazy->chunk;
		err = push_run(lazy, task, &run, &pages, &pushed);
		task->cursor = run.address + pages * RT_LAZY_PAGE;
	}
	if (pushed)
		task->dry = false;
	return err;
}

/* As much of the piece as is one run in the task. */
static struct rt_error *push_piece(struct rt_lazy *lazy, struct rt_lazy_task *task, const struct rt_lazy_piece *piece)
{
	uint64_t at = 0;

	while (at < piece->pages && !task->retry && !task->gone) {
		struct rt_lazy_run run;
		struct rt_error *err;
		bool pushed = false;
		uint64_t origin, pages;

		if (piece->start >= RT_PAGESET_ADDRESS_MAX || at > (RT_PAGESET_ADDRESS_MAX - piece->start) / RT_LAZY_PAGE)
			break;
		origin = piece->start + at * RT_LAZY_PAGE;
		if (!rt_lazy_index(task->space, origin, &run.index) || !rt_lazy_map_where(&task->map, run.index, origin, &run.address) ||
		    rt_lazy_map_is_done(&task->map, run.index)) {
			at++;
			continue;
		}
		if (!rt_lazy_map_next(&task->map, run.address, piece->pages - at < RT_LAZY_CHUNK_MAX ? piece->pages - at : RT_LAZY_CHUNK_MAX, &run))
			break;
		err = push_run(lazy, task, &run, &pages, &pushed);
		if (err)
			return err;
		at += pages > 0 ? pages : 1;
	}
	return NULL;
}

/* The first of these, at most `most` pages of it. */
static struct rt_error *push_pieces(struct rt_lazy *lazy, struct rt_lazy_pieces *pieces, uint64_t most)
{
	struct rt_lazy_piece *piece = &pieces->pieces[pieces->at];
	struct rt_lazy_piece now = *piece;
	struct rt_error *err = NULL;

	if (now.pages > most)
		now.pages = most;
	for (struct rt_lazy_task *task = lazy->tasks; !err && task; task = task->next)
		if (task->space->number == now.space && task->map.left > 0)
			err = push_piece(lazy, task, &now);
	if (!can_push_piece(lazy, pieces))
		return err; /* once more, when it can be */
	piece->start += now.pages * RT_LAZY_PAGE;
	piece->pages -= now.pages;
	if (piece->pages == 0 || piece->start >= RT_PAGESET_ADDRESS_MAX)
		pieces->at++;
	return err;
}

struct rt_error *rt_lazy_push(struct rt_lazy *lazy)
{
	struct rt_lazy_task *task = lazy->recent;
	struct rt_error *err = NULL;

	/* The task that touches its memory goes first. */
	if (!task || !can_push(task))
		for (task = lazy->tasks; task && !can_push(task); task = task->next)
			;
	if (can_push_piece(lazy, &lazy->prefetch))
		err = push_pieces(lazy, &lazy->prefetch, RT_LAZY_CHUNK_MAX); /* what will be asked for anyhow */
	else if (can_push_piece(lazy, &lazy->came))
		err = push_pieces(lazy, &lazy->came, lazy->chunk);
	else if (task)
		err = push_task(lazy, task);
	lazy->chunk = lazy->chunk * 2 < RT_LAZY_CHUNK_MAX ? lazy->chunk * 2 : RT_LAZY_CHUNK_MAX;
	return err;
}

void rt_lazy_arrived(struct rt_lazy *lazy, uint64_t space, uint64_t start, uint64_t pages)
{
	uint64_t one = 1;
	struct rt_error *err;

	pthread_mutex_lock(&lazy->lock);
	err = rt_lazy_pieces_add(&lazy->arrived, space, start, pages);
	/* Without memory to note what came, all is looked at. */
	lazy->arrived_anything |= err != NULL;
	pthread_mutex_unlock(&lazy->lock);
	rt_error_free(err);
	if (write(lazy->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is awake */
}

/* They are pushed behind those that came before. */
static struct rt_error *push_later(struct rt_lazy *lazy, const struct rt_lazy_pieces *pieces)
{
	struct rt_lazy_pieces *came = &lazy->came;
	struct rt_error *err = NULL;

	if (came->at > came->count / 2) {
		came->count -= came->at;
		memmove(came->pieces, came->pieces + came->at, came->count * sizeof(*came->pieces));
		came->at = 0;
	}
	for (size_t i = 0; i < pieces->count && !err; i++)
		err = rt_lazy_pieces_add(came, pieces->pieces[i].space, pieces->pieces[i].start, pieces->pieces[i].pages);
	return err;
}

struct rt_error *rt_lazy_take_arrived(struct rt_lazy *lazy)
{
	struct rt_lazy_pieces arrived;
	struct rt_error *err = NULL;
	bool anything;

	pthread_mutex_lock(&lazy->lock);
	arrived = lazy->arrived;
	anything = lazy->arrived_anything;
	lazy->arrived = (struct rt_lazy_pieces){ 0 };
	lazy->arrived_anything = false;
	pthread_mutex_unlock(&lazy->lock);
	for (struct rt_lazy_task *task = lazy->tasks; !err && task; task = task->next) {
		bool touched = anything;

		for (size_t i = 0; i < arrived.count && !touched; i++)
			touched = arrived.pieces[i].space == task->space->number;
		if (anything)
			task->stalled = task->dry = false;
		if (touched)
			err = rt_lazy_serve_waiting(lazy, task);
	}
	if (!err && !lazy->options.on_demand)
		err = push_later(lazy, &arrived);
	free(arrived.pieces);
	return err;
}
