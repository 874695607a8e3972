#include "checkpoint/inspect.h"

#include "checkpoint/images.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "images_made.h"

static void write_process(const struct made *made, uint32_t pid, const char *name)
{
	Img__Core core = IMG__CORE__INIT;
	Img__TaskCore task = IMG__TASK_CORE__INIT;
	Img__ThreadCore thread = IMG__THREAD_CORE__INIT;
	Img__Credentials creds = IMG__CREDENTIALS__INIT;
	char file[32];

	core.machine = 1;
	core.task = &task;
	core.thread = &thread;
	task.has_task_state = true;
	task.task_state = 1;
	task.comm = (char *)name;
	thread.creds = &creds;
	creds.has_uid = true;
	creds.uid = 33;
	snprintf(file, sizeof(file), "core-%u.img", pid);
	write_image(made, file, MAGIC_COMMON, 0x55053847, 1, &core.base);
}

static void write_tree(const struct made *made)
{
	Img__Process init = IMG__PROCESS__INIT, worker = IMG__PROCESS__INIT;
	Img__PagemapHead head = IMG__PAGEMAP_HEAD__INIT;
	Img__PagemapEntry pages = IMG__PAGEMAP_ENTRY__INIT;

	init.pid = 1;
	worker.pid = 7;
	worker.ppid = 1;
	write_image(made, "pstree.img", MAGIC_COMMON, 0x50273030, 2, &init.base, &worker.base);
	write_process(made, 1, "nginx");
	write_process(made, 7, "work\x1b\xff");
	pages.has_nr_pages_32 = true;
	pages.nr_pages_32 = 256;
	write_image(made, "pagemap-1.img", MAGIC_COMMON, 0x56084025, 2, &head.base, &pages.base);
}

static void write_socket(const struct made *made)
{
	Img__File file = IMG__FILE__INIT;
	Img__InetSocket socket = IMG__INET_SOCKET__INIT;
	Img__Descriptor descriptor = IMG__DESCRIPTOR__INIT;
	Img__KernelIds ids = IMG__KERNEL_IDS__INIT;
	uint32_t address = htonl(0x0a000001), peer = htonl(0x0a000002);

	socket.family = 2;
	socket.type = 1;
	socket.protocol = 6;
	socket.state = 1;
	socket.source_port = 80;
	socket.destination_port = 4000;
	socket.n_source = socket.n_destination = 1;
	socket.source = &address;
	socket.destination = &peer;
	file.kind = 4;
	file.id = 5;
	file.inet = &socket;
	write_image(made, "files.img", MAGIC_COMMON, 0x56303138, 1, &file.base);
	descriptor.id = 5;
	descriptor.kind = 4;
	descriptor.fd = 3;
	write_image(made, "fdinfo-2.img", MAGIC_COMMON, 0x56213732, 1, &descriptor.base);
	ids.has_files_id = true;
	ids.files_id = 2;
	write_image(made, "ids-1.img", MAGIC_COMMON, 0x54432030, 1, &ids.base);
}

static void the_tree_its_memory_and_sockets_are_told(void **state)
{
	struct made made = make_directory();
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *stream;

	write_inventory(&made, 2);
	write_tree(&made);
	write_socket(&made);
	assert_null(rt_inspect(made.fd, &document));
	stream = open_memstream(&text, &size);
	assert_null(rt_inspect_print(stream, document));
	fclose(stream);
	assert_non_null(strstr(text, "`-- 1 nginx  uid 33, 1.0 MiB"));
	assert_non_null(strstr(text, "    `-- 7 work\\x1b\\xff  uid 33"));
	assert_non_null(strstr(text, "  3 inet     tcp 10.0.0.1:80 -> 10.0.0.2:4000 (established)"));
	remove_directory(&made);
}

static void a_circle_of_processes_does_not_trap_us(void **state)
{
	Img__Process first = IMG__PROCESS__INIT, second = IMG__PROCESS__INIT;
	struct made made = make_directory();
	_cleanup_json_ json_t *document = NULL;

	first.pid = 1;
	first.ppid = 2;
	second.pid = 2;
	second.ppid = 1;
	write_inventory(&made, 2);
	write_image(&made, "pstree.img", MAGIC_COMMON, 0x50273030, 2, &first.base, &second.base);
	assert_null(rt_inspect(made.fd, &document));
	assert_int_equal(json_array_size(json_object_get(document, "processes")), 1);
	remove_directory(&made);
}

static void a_process_that_is_its_own_parent_or_there_twice_is_handled(void **state)
{
	Img__Process process = IMG__PROCESS__INIT;
	struct made made = make_directory();
	json_t *document = NULL;

	process.pid = process.ppid = 1;
	write_inventory(&made, 2);
	write_image(&made, "pstree.img", MAGIC_COMMON, 0x50273030, 1, &process.base);
	assert_null(rt_inspect(made.fd, &document));
	json_decref(document);
	write_image(&made, "pstree.img", MAGIC_COMMON, 0x50273030, 2, &process.base, &process.base);
	assert_fails(rt_inspect(made.fd, &document), "twice");
	remove_directory(&made);
}

static void a_tree_without_end_is_refused(void **state)
{
	struct made made = make_directory();
	uint32_t common = MAGIC_COMMON, magic = 0x50273030;
	json_t *document = NULL;
	_cleanup_close_ int fd = openat(made.fd, "pstree.img", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	write_inventory(&made, 2);
	assert_null(rt_write_all(fd, &common, 4));
	assert_null(rt_write_all(fd, &magic, 4));
	for (uint32_t pid = 1; pid < 2000; pid++) {
		Img__Process process = IMG__PROCESS__INIT;
		uint8_t bytes[64];
		uint32_t size;

		process.pid = pid;
		process.ppid = pid - 1;
		size = (uint32_t)img__process__pack(&process, bytes);
		assert_null(rt_write_all(fd, &size, 4));
		assert_null(rt_write_all(fd, bytes, size));
	}
	assert_fails(rt_inspect(made.fd, &document), "levels deep");
	remove_directory(&made);
}

static void a_directory_without_images_is_no_checkpoint(void **state)
{
	struct made made = make_directory();
	json_t *document = NULL;

	assert_fails(rt_inspect(made.fd, &document), "there is no checkpoint");
	remove_directory(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tree_its_memory_and_sockets_are_told),
		cmocka_unit_test(a_circle_of_processes_does_not_trap_us),
		cmocka_unit_test(a_process_that_is_its_own_parent_or_there_twice_is_handled),
		cmocka_unit_test(a_tree_without_end_is_refused),
		cmocka_unit_test(a_directory_without_images_is_no_checkpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
