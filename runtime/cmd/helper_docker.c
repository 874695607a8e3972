/* rt-docker: asks a Docker daemon what it knows of a container. Run by `rt spec import --docker`, never by hand.
 *
 *     rt-docker DAEMON CONTAINER
 *
 * DAEMON is as in $DOCKER_HOST, "unix:///var/run/docker.sock" or "tcp://host:port"; the answer, the JSON of `docker inspect` for
 * one container, goes to descriptor 3. It ends with 0, or with 1 and one line on standard error. Nothing of `rt` is linked into
 * it: libcurl is why it is a program of its own. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIX "unix://"
#define TCP "tcp://"
enum { ANSWER_FD = 3, TIMEOUT_S = 30 };
#define MOST_BYTES (16 * 1024 * 1024)

struct answer {
	char *text;
	size_t size;
	bool too_long;
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

static size_t take(char *bytes, size_t one, size_t count, void *userdata)
{
	struct answer *answer = userdata;
	size_t size = one * count;
	char *grown;

	if (answer->size + size > MOST_BYTES) {
		answer->too_long = true;
		return 0;
	}
	grown = realloc(answer->text, answer->size + size + 1);
	if (!grown)
		return 0;
	memcpy(grown + answer->size, bytes, size);
	answer->text = grown;
	answer->size += size;
	grown[answer->size] = '\0';
	return size;
}

/* {"message": "No such container: web"} */
static int refuse(long status, const char *text)
{
	json_t *said = text ? json_loads(text, 0, NULL) : NULL;
	const char *message = json_string_value(json_object_get(said, "message"));
	int result = complain("the daemon refused (HTTP %ld)%s%s", status, message ? ": " : "", message ? message : "");

	json_decref(said);
	return result;
}

static int pass_on(const struct answer *answer)
{
	for (size_t done = 0; done < answer->size;) {
		ssize_t written = write(ANSWER_FD, answer->text + done, answer->size - done);

		if (written < 0)
			return complain("cannot pass the answer on: %m");
		done += (size_t)written;
	}
	return 0;
}

static int ask(CURL *curl, const char *daemon, const char *container, struct answer *answer)
{
	char *name = curl_easy_escape(curl, container, 0);
	char why[CURL_ERROR_SIZE] = "", url[1024];
	long status = 0, error = 0;
	CURLcode result;

	if (!name)
		return complain("out of memory");
	if (strncmp(daemon, UNIX, strlen(UNIX)) == 0) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, daemon + strlen(UNIX));
		snprintf(url, sizeof(url), "http://localhost/containers/%s/json", name);
	} else if (strncmp(daemon, TCP, strlen(TCP)) == 0) {
		snprintf(url, sizeof(url), "http://%s/containers/%s/json", daemon + strlen(TCP), name);
	} else {
		curl_free(name);
		return complain("a daemon is named unix:///PATH or tcp://HOST:PORT, not '%s'", daemon);
	}
	curl_free(name);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	result = curl_easy_perform(curl);
	if (answer->too_long)
		return complain("the daemon at '%s' doesn't stop answering", daemon);
	/* Of a socket in the file system libcurl says that it could not reach "localhost port 80". */
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &error);
	if (result == CURLE_COULDNT_CONNECT && error)
		return complain("cannot reach the daemon at '%s': %s", daemon, strerror((int)error));
	if (result != CURLE_OK)
		return complain("cannot ask the daemon at '%s': %s", daemon, *why ? why : curl_easy_strerror(result));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	return status == 200 ? pass_on(answer) : refuse(status, answer->text);
}

int main(int argc, char **argv)
{
	struct answer answer = { .text = NULL };
	CURL *curl = NULL;
	int status;

	if (argc != 3)
		return complain("usage: rt-docker DAEMON CONTAINER");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		curl = curl_easy_init();
	if (!curl)
		return complain("cannot start libcurl");
	status = ask(curl, argv[1], argv[2], &answer);
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	free(answer.text);
	return status;
}
