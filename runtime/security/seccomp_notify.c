#include "runtime/security/security.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/unix.h"

/* containerProcessState of config-linux.md: "fds" names the descriptors that come with the message, in their order. */
static json_t *make_message(const struct rt_spec_seccomp *spec, pid_t pid, json_t *container_state)
{
	json_t *message = json_pack("{s:s, s:[s], s:i, s:O}", "ociVersion", RT_SPEC_VERSION, "fds", "seccompFd", "pid",
				    (int)pid, "state", container_state);

	if (message && spec->listener_metadata &&
	    json_object_set_new(message, "metadata", json_string(spec->listener_metadata)) < 0) {
		json_decref(message);
		return NULL;
	}
	return message;
}

struct rt_error *rt_filter_send_listener(const struct rt_spec_seccomp *spec, int listener, pid_t pid,
					 json_t *container_state)
{
	_cleanup_json_ json_t *message = make_message(spec, pid, container_state);
	_cleanup_free_ char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	_cleanup_close_ int socket = -1;
	struct rt_error *err;

	if (!text)
		return rt_error_oom();
	err = rt_sys_connect(spec->listener_path, &socket);
	if (!err)
		err = rt_send_message(socket, text, strlen(text), &listener, 1);
	if (err)
		return rt_while(err, "sending the seccomp listener to 'linux.seccomp.listenerPath'");
	return NULL;
}
