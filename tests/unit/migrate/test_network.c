#include "migrate/network.h"
#include "tests/unit/spec/spec_test.h"
#include "runtime/base/str.h"

#include <jansson.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_fine(struct rt_error *err)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	rt_error_free(err);
	if (err)
		fail_msg("%s", text);
}

static void assert_says(struct rt_error *err, const char *part)
{
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	rt_error_free(err);
	if (!text || !strstr(text, part))
		fail_msg("'%s' lacks '%s'", text ? text : "no error", part);
}

static void find(const char *config, struct rt_network *ret)
{
	struct rt_spec *spec = load_with(rt_spec_load_text, config);

	assert_fine(rt_network_find(spec, ret));
	rt_spec_free(spec);
}

static void it_is_alone_where_nobody_else_wants_anything_of_new_namespaces(void **state)
{
	static const struct {
		const char *config;
		bool alone;
	} cases[] = {
		{ CONFIG(",'hooks':{'createRuntime':[{'path':'/opt/rt-netns'}],'poststop':[{'path':'/bin/other'}]}"), true },
		{ CONFIG(",'hooks':{'createRuntime':[{'path':'/opt/rt-netns'},{'path':'/bin/other'}]}"), false },
		{ CONFIG(",'hooks':{'createRuntime':[{'path':'/opt/rt-netns'}],'prestart':[{'path':'/bin/other'}]}"), false },
		{ CONFIG(""), false },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct rt_network network = { NULL };

		find(cases[i].config, &network);
		assert_int_equal(network.alone, cases[i].alone);
		rt_network_deinit(&network);
	}
}

static void the_hook_is_known_by_its_name(void **state)
{
	struct rt_network network = { NULL };

	find(CONFIG(",'hooks':{'createRuntime':[{'path':'/bin/other'},{'path':'/opt/rt-netns','args':['rt-netns','--state-dir','/run/net','hook']}]}"), &network);
	assert_string_equal(network.program, "/opt/rt-netns");
	assert_string_equal(network.state_dir, "/run/net");
	rt_network_deinit(&network);
	find(CONFIG(",'hooks':{'prestart':[{'path':'/opt/rt-netns','args':['rt-netns','--state-dir=/run/net','hook']}]}"), &network);
	assert_string_equal(network.state_dir, "/run/net");
	rt_network_deinit(&network);
	find(CONFIG(",'hooks':{'prestart':[{'path':'/opt/rt-netns'}]}"), &network);
	assert_non_null(network.program);
	assert_null(network.state_dir);
	rt_network_deinit(&network);
}

static void other_hooks_are_not_ours(void **state)
{
	struct rt_network network = { NULL };

	find(CONFIG(",'hooks':{'poststop':[{'path':'/opt/rt-netns'}],'createRuntime':[{'path':'/opt/rt-netns-other'},{'path':'/rt-netns/x'}]}"), &network);
	assert_null(network.program);
	/* And so nothing is run. */
	assert_fine(rt_network_save(&network, "web"));
	assert_fine(rt_network_release(&network, "web"));
	assert_fine(rt_network_detach(&network, "web"));
	assert_null(network.saved);
}

/* A program in the place of rt-netns, with its directory. */
static char *make_program(char directory[], const char *script)
{
	_cleanup_free_ char *path = NULL;
	FILE *file;

	assert_non_null(mkdtemp(directory));
	assert_fine(rt_format(&path, "%s/rt-netns", directory));
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	assert_return_code(chmod(path, 0755), errno);
	return rt_take_ptr(path);
}

static void remove_program(const char *directory, char **program)
{
	unlink(*program);
	rmdir(directory);
	free(rt_take_ptr(*program));
}

static void what_it_prints_is_saved(void **state)
{
	char directory[] = "/tmp/rt-test-network.XXXXXX";
	struct rt_network network = { .program = make_program(directory, "echo \"$*\"") };

	network.state_dir = strdup("/run/net");
	assert_fine(rt_network_save(&network, "web"));
	assert_string_equal(network.saved, "--state-dir /run/net save web\n");
	remove_program(directory, &network.program);
	rt_network_deinit(&network);
}

static void a_failure_is_one(void **state)
{
	char directory[] = "/tmp/rt-test-network.XXXXXX";
	struct rt_network network = { .program = make_program(directory, "exit 1") };

	assert_says(rt_network_save(&network, "web"), "its network can't move along");
	remove_program(directory, &network.program);
	rt_network_deinit(&network);
}

static json_t *put(const char *saved, const char *config)
{
	char *text = with_double_quotes(config);
	_cleanup_free_ char *json = with_double_quotes(saved);
	size_t size = strlen(text);
	json_t *document;

	assert_fine(rt_network_put_into(json, &text, &size));
	assert_int_equal(size, strlen(text));
	document = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(document);
	return document;
}

static void it_becomes_an_annotation_that_holds_back(void **state)
{
	static const char *const configs[] = { "{}", "{'annotations':{'a':'b'}}", "{'annotations':7}", "{'annotations':{'org.rt.netns':'old'}}" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(configs); i++) {
		_cleanup_json_ json_t *document = put("{'mac':'x','hold':false}", configs[i]);
		json_t *annotations = json_object_get(document, "annotations");
		_cleanup_json_ json_t *network = json_loads(json_string_value(json_object_get(annotations, "org.rt.netns")), 0, NULL);

		assert_true(json_is_true(json_object_get(network, "hold")));
		assert_string_equal(json_string_value(json_object_get(network, "mac")), "x");
		if (i == 1)
			assert_string_equal(json_string_value(json_object_get(annotations, "a")), "b");
	}
}

static void what_is_no_object_is_refused_and_changes_nothing(void **state)
{
	static const char *const saved[] = { "", "[]", "7", "{", "null" };
	char *config = strdup("{}");
	size_t size = 2;

	for (size_t i = 0; i < RT_ARRAY_SIZE(saved); i++)
		assert_says(rt_network_put_into(saved[i], &config, &size), "the source's network is no JSON object");
	assert_string_equal(config, "{}");
	free(config);
	config = strdup("[]");
	assert_says(rt_network_put_into("{}", &config, &size), "the configuration is no JSON object");
	free(config);
}

struct answer {
	_Alignas(struct nlmsghdr) char bytes[1024];
	size_t size;
};

static void add(struct answer *answer, uint16_t type, uint32_t queue)
{
	struct inet_diag_msg listener = { .idiag_state = 10, .idiag_rqueue = queue };
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_len = NLMSG_LENGTH(sizeof(listener)) };

	memcpy(answer->bytes + answer->size, &header, sizeof(header));
	memcpy(answer->bytes + answer->size + NLMSG_HDRLEN, &listener, sizeof(listener));
	answer->size += NLMSG_SPACE(sizeof(listener));
}

static void add_socket(struct answer *answer, uint8_t tcp_state, uint32_t inode, uint32_t unsent)
{
	struct inet_diag_msg socket = { .idiag_state = tcp_state, .idiag_inode = inode, .idiag_wqueue = unsent };
	struct nlmsghdr header = { .nlmsg_type = TCPDIAG_GETSOCK, .nlmsg_len = NLMSG_LENGTH(sizeof(socket)) };

	memcpy(answer->bytes + answer->size, &header, sizeof(header));
	memcpy(answer->bytes + answer->size + NLMSG_HDRLEN, &socket, sizeof(socket));
	answer->size += NLMSG_SPACE(sizeof(socket));
}

static void the_hardware_address_is_what_was_saved(void **state)
{
	static const uint8_t expected[] = { 0x02, 0x42, 0xac, 0x13, 0, 0x0a };
	static char saved[] = "{\"mac\": \"02:42:ac:13:00:0a\"}", cut[] = "{\"mac\": \"02:42:ac:13:00\"}", none[] = "{}";
	uint8_t mac[6] = { 0 };

	assert_true(rt_network_mac(&(struct rt_network){ .saved = saved }, mac));
	assert_memory_equal(mac, expected, sizeof(mac));
	assert_false(rt_network_mac(&(struct rt_network){ .saved = cut }, mac));
	assert_false(rt_network_mac(&(struct rt_network){ .saved = none }, mac));
	assert_false(rt_network_mac(&(struct rt_network){ 0 }, mac));
}

static void sockets_that_nobody_holds_are_counted(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = true;

	add_socket(&answer, 4, 0, 0); /* FIN_WAIT1, and all of it arrived */
	add_socket(&answer, 4, 77, 500); /* somebody's */
	assert_int_equal(rt_network_answer_unheld(answer.bytes, answer.size, &end), 0);
	assert_false(end);
	add_socket(&answer, 4, 0, 1);
	add_socket(&answer, 9, 0, 70000); /* LAST_ACK */
	add_socket(&answer, 3, 0, 0); /* SYN_RECV */
	assert_int_equal(rt_network_answer_unheld(answer.bytes, answer.size, &end), 3);
	assert_false(end);
	add(&answer, NLMSG_DONE, 0);
	assert_int_equal(rt_network_answer_unheld(answer.bytes, answer.size, &end), 3);
	assert_true(end);
}

static void a_listener_with_a_queue_waits(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = true;

	add(&answer, TCPDIAG_GETSOCK, 0);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_false(end);
	add(&answer, TCPDIAG_GETSOCK, 3);
	add(&answer, TCPDIAG_GETSOCK, 0);
	assert_true(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_false(end);
}

static void the_end_is_told_behind_one_that_waits_too(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, TCPDIAG_GETSOCK, 1);
	add(&answer, NLMSG_DONE, 0);
	assert_true(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_true(end);
}

static void an_error_is_an_end(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, NLMSG_ERROR, 7);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size, &end));
	assert_true(end);
}

static void what_is_cut_off_is_not_read(void **state)
{
	struct answer answer = { .size = 0 };
	bool end = false;

	add(&answer, TCPDIAG_GETSOCK, 1);
	assert_false(rt_network_answer_waits(answer.bytes, answer.size - 8, &end));
	assert_false(rt_network_answer_waits(answer.bytes, 0, &end));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listener_with_a_queue_waits),
		cmocka_unit_test(sockets_that_nobody_holds_are_counted),
		cmocka_unit_test(the_hardware_address_is_what_was_saved),
		cmocka_unit_test(the_end_is_told_behind_one_that_waits_too),
		cmocka_unit_test(an_error_is_an_end),
		cmocka_unit_test(what_is_cut_off_is_not_read),
		cmocka_unit_test(it_is_alone_where_nobody_else_wants_anything_of_new_namespaces),
		cmocka_unit_test(the_hook_is_known_by_its_name),
		cmocka_unit_test(other_hooks_are_not_ours),
		cmocka_unit_test(what_it_prints_is_saved),
		cmocka_unit_test(a_failure_is_one),
		cmocka_unit_test(it_becomes_an_annotation_that_holds_back),
		cmocka_unit_test(what_is_no_object_is_refused_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
