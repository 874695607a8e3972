/* `tar` as CRIU runs it, found before the machine's own in the PATH that launch.c gives to it: two command lines, one to pack the content of a tmpfs,
 * one to unpack it. Any other is handed to the next `tar` of PATH. */
#include "checkpoint/tmpfs_tar.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FAILURE 2 /* as GNU tar says it */

static const char *const create_words[] = { "--create", "--gzip", "--no-unquote", "--no-wildcards", "--one-file-system", "--check-links",
					    "--preserve-permissions", "--sparse", "--numeric-owner", "--directory", "/proc/self/fd/0", ".", NULL };
static const char *const extract_words[] = { "--extract", "--gzip", "--no-unquote", "--no-wildcards", "--directory", NULL };

/* Whether the arguments are these, and then `more` of any kind. */
static bool is_call(char **arguments, const char *const *words, size_t more)
{
	size_t count = 0;

	while (words[count] && arguments[count] && rt_str_equal(words[count], arguments[count]))
		count++;
	if (words[count])
		return false;
	while (more > 0 && arguments[count]) {
		count++;
		more--;
	}
	return more == 0 && !arguments[count];
}

static bool is_same(const struct stat *own, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == own->st_dev && st.st_ino == own->st_ino;
}

/* Where the next directory of a PATH begins, "" after the last one. */
static const char *behind(const char *at)
{
	at += strcspn(at, ":");
	return *at ? at + 1 : at;
}

/* Relative entries depend on where we stand; a program run as root is not looked for there. */
static bool path_of(const char *directory, char path[PATH_MAX])
{
	size_t length = strcspn(directory, ":");

	if (*directory != '/' || length + sizeof("/tar") > PATH_MAX)
		return false;
	memcpy(path, directory, length);
	memcpy(path + length, "/tar", sizeof("/tar"));
	return true;
}

/* The `tar` of PATH that comes after us, if we are in it: two of us there must not call each other for ever. */
static void run_next(char **argv)
{
	const char *search = getenv("PATH"), *from, *at;
	char path[PATH_MAX];
	struct stat own;

	if (!search)
		search = "/usr/local/bin:/usr/bin:/bin";
	from = search;
	if (stat("/proc/self/exe", &own) == 0)
		for (at = search; *at; at = behind(at))
			if (path_of(at, path) && is_same(&own, path))
				from = behind(at);
	for (at = from; *at; at = behind(at))
		if (path_of(at, path))
			execv(path, argv);
	rt_tmpfs_tar_tell("Error (tar): these options are not for the tar of rt, and there is no other after it in PATH ('%s')", search);
}

static struct rt_error *extract(const char *directory)
{
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return rt_fail_errno("cannot open the directory '%s'", directory);
	return rt_tmpfs_tar_unpack(STDIN_FILENO, fd);
}

int main(int argc, char **argv)
{
	struct rt_error *err;
	char *text;

	if (argc > 1 && is_call(argv + 1, create_words, 0)) {
		err = rt_tmpfs_tar_pack(STDIN_FILENO, STDOUT_FILENO);
	} else if (argc > 1 && is_call(argv + 1, extract_words, 1)) {
		err = extract(argv[argc - 1]);
	} else {
		run_next(argv);
		return FAILURE;
	}
	if (!err)
		return EXIT_SUCCESS;
	text = rt_error_text(err);
	/* As CRIU's own lines are, so that criulog.c finds it among them. */
	rt_tmpfs_tar_tell("Error (tar): %s", text ? text : "out of memory");
	free(text);
	rt_error_free(err);
	return FAILURE;
}
