/* Sends trees to trees of this host: what two hosts do, without the network between them.
 *
 *     tree_driver FROM TO [-u] [-n] [-c SIZE]    -u: FROM is an overlay, of which the upper directory is sent; -n: no device nodes;
 *                                                -c: bytes come in pieces of SIZE
 *
 * The first pass goes at once; then, for each line on standard input, a delta. A line may list process ids, whose mapped files are noted before. One line of JSON
 * tells what each took. */
#include "migrate/tree.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

struct driver {
	struct rt_tree *tree;
	struct rt_tree_receive_options options;
	struct rt_tree_receiver *receiver;
	size_t piece;
	uint64_t bytes;
};

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct rt_error *pass(void *userdata, const void *bytes, size_t size)
{
	struct driver *driver = userdata;
	struct rt_error *err = NULL;

	driver->bytes += size;
	while (!err && size > 0) {
		size_t piece = driver->piece && driver->piece < size ? driver->piece : size;

		err = rt_tree_receive(driver->receiver, bytes, piece);
		bytes = (const char *)bytes + piece;
		size -= piece;
	}
	return err;
}

static struct rt_error *transfer(struct driver *driver)
{
	struct rt_tree_totals sent, received;
	struct rt_error *err = rt_tree_receiver_new(&driver->options, &driver->receiver);
	double start = now_ms(), walked;

	driver->bytes = 0;
	if (!err)
		err = rt_tree_send(driver->tree, pass, driver, &sent);
	walked = now_ms();
	if (!err)
		err = rt_tree_receiver_finish(driver->receiver, &received);
	rt_tree_receiver_free(rt_take_ptr(driver->receiver));
	if (!err)
		printf("{\"files\": %llu, \"bytes\": %llu, \"removed\": %llu, \"received_files\": %llu, \"received_bytes\": %llu, \"received_removed\": %llu, "
		       "\"stream\": %llu, \"send_ms\": %.3f, \"total_ms\": %.3f}\n",
		       (unsigned long long)sent.files, (unsigned long long)sent.bytes, (unsigned long long)sent.removed, (unsigned long long)received.files,
		       (unsigned long long)received.bytes, (unsigned long long)received.removed, (unsigned long long)driver->bytes, walked - start,
		       now_ms() - start);
	fflush(stdout);
	return err;
}

static struct rt_error *note_mapped(struct driver *driver, char *line)
{
	struct rt_error *err = NULL;

	for (char *word = strtok(line, " \n"); word && !err; word = strtok(NULL, " \n")) {
		pid_t pid = (pid_t)atoi(word);

		err = rt_tree_note_mapped(driver->tree, &pid, 1);
	}
	return err;
}

static struct rt_error *run(struct driver *driver)
{
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	struct rt_error *err = transfer(driver);

	while (!err && getline(&line, &room, stdin) > 0) {
		err = note_mapped(driver, line);
		if (!err)
			err = transfer(driver);
	}
	return err;
}

int main(int argc, char **argv)
{
	struct driver driver = { .options = { .privileged_nodes = true } };
	_cleanup_error_ struct rt_error *err = NULL;
	_cleanup_free_ char *text = NULL, *upper = NULL;
	const char *from;
	int option;

	while ((option = getopt(argc, argv, "unc:")) > 0) {
		if (option == 'u')
			driver.options.flags = RT_TREE_UPPER;
		else if (option == 'n')
			driver.options.privileged_nodes = false;
		else if (option == 'c')
			driver.piece = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	from = argv[optind];
	if (driver.options.flags & RT_TREE_UPPER) {
		err = rt_tree_upper_of(from, &upper);
		if (!err && !upper)
			err = rt_fail(RT_USAGE, "'%s' is no overlay", from);
		from = upper;
	}
	driver.options.root_fd = open(argv[optind + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err)
		err = rt_tree_new(from, driver.options.flags, &driver.tree);
	if (!err)
		err = run(&driver);
	rt_tree_free(driver.tree);
	if (!err)
		return 0;
	text = rt_error_text(err);
	fprintf(stderr, "%s\n", text ? text : "out of memory");
	return 1;
}
