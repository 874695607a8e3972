#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoint/restart.h"

#include "images_made.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#define IP 0x401234u
#define EAX_EINTR ((uint64_t)-EINTR)

struct thread {
	Img__RegistersX86 registers;
	Img__ThreadX86 x86;
	Img__TaskCore task;
	Img__ThreadCore thread;
	Img__SignalQueue queue;
	Img__Signal signal, *signals;
	Img__Core core;
};

static void init(struct thread *t, uint64_t number)
{
	img__registers_x86__init(&t->registers);
	img__thread_x86__init(&t->x86);
	img__task_core__init(&t->task);
	img__thread_core__init(&t->thread);
	img__signal_queue__init(&t->queue);
	img__signal__init(&t->signal);
	img__core__init(&t->core);
	t->signals = &t->signal;
	t->queue.n_pending = 1;
	t->queue.pending = &t->signals;
	t->registers.has_ax = t->registers.has_orig_ax = t->registers.has_ip = 1;
	t->registers.has_di = t->registers.has_si = t->registers.has_dx = t->registers.has_r10 = 1;
	t->registers.ax = EAX_EINTR;
	t->registers.orig_ax = number;
	t->registers.ip = IP;
	t->x86.registers = &t->registers;
	t->core.machine = 1;
	t->core.x86 = &t->x86;
	t->core.task = &t->task;
	t->core.thread = &t->thread;
}

/* Whether its call is made once more. */
static bool restarts(struct thread *t)
{
	struct made made = make_directory();
	ProtobufCMessage *message = NULL;
	const Img__RegistersX86 *registers;
	bool again;

	write_image(&made, "core-7.img", MAGIC_COMMON, 0x55053847, 1, &t->core.base);
	assert_null(rt_restart_calls(made.fd));
	assert_null(rt_image_read_one(made.fd, "core-7.img", RT_IMAGE_CORE, &message));
	registers = ((Img__Core *)message)->x86->registers;
	again = registers->ip == IP - 2;
	assert_int_equal(registers->ip, again ? IP - 2 : IP);
	assert_int_equal(registers->ax, again ? t->registers.orig_ax : t->registers.ax);
	assert_int_equal(registers->orig_ax, t->registers.orig_ax);
	assert_int_equal(registers->di, t->registers.di);
	rt_unpack_free(message);
	remove_directory(&made);
	return again;
}

static bool sleeps_on(uint64_t number, uint64_t asked, uint64_t left)
{
	struct thread t;

	init(&t, number);
	if (number == SYS_nanosleep) {
		t.registers.di = asked;
		t.registers.si = left;
	} else {
		t.registers.dx = asked;
		t.registers.r10 = left;
	}
	return restarts(&t);
}

static void a_sleep_goes_on_unless_the_rest_is_kept_elsewhere(void **state)
{
	(void)state;
	assert_true(sleeps_on(SYS_nanosleep, 0x1000, 0x1000));
	assert_true(sleeps_on(SYS_nanosleep, 0x1000, 0));
	assert_false(sleeps_on(SYS_nanosleep, 0x1000, 0x2000));
	assert_true(sleeps_on(SYS_clock_nanosleep, 0x1000, 0x1000));
	assert_true(sleeps_on(SYS_clock_nanosleep, 0x1000, 0));
	assert_false(sleeps_on(SYS_clock_nanosleep, 0x1000, 0x2000));
}

static bool waits_on_a_futex(uint64_t operation)
{
	struct thread t;

	init(&t, SYS_futex);
	t.registers.si = operation;
	return restarts(&t);
}

static void a_futex_where_the_time_is_a_moment(void **state)
{
	(void)state;
	assert_true(waits_on_a_futex(FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME));
	assert_true(waits_on_a_futex(FUTEX_WAIT_BITSET));
	assert_false(waits_on_a_futex(FUTEX_WAIT));
	assert_false(waits_on_a_futex(FUTEX_WAIT_REQUEUE_PI));
}

static void others_are_left_alone(void **state)
{
	struct thread t;

	(void)state;
	init(&t, SYS_poll);
	assert_true(restarts(&t));
	init(&t, SYS_epoll_wait); /* it says EINTR by itself */
	assert_true(restarts(&t));
	init(&t, SYS_close); /* has closed it */
	assert_false(restarts(&t));
	init(&t, (uint64_t)-1);
	assert_false(restarts(&t));
	init(&t, SYS_poll);
	t.registers.ax = 1; /* it has ended */
	assert_false(restarts(&t));
	init(&t, SYS_poll);
	t.registers.has_mode = 1;
	t.registers.mode = 2; /* where 7 is waitpid */
	assert_false(restarts(&t));
	init(&t, SYS_poll);
	t.core.machine = 3;
	assert_false(restarts(&t));
}

static void a_signal_to_come_interrupts(void **state)
{
	struct thread t;

	(void)state;
	init(&t, SYS_poll);
	t.task.signals = &t.queue;
	assert_false(restarts(&t));
	init(&t, SYS_poll);
	t.thread.signals = &t.queue;
	assert_false(restarts(&t));
	t.queue.n_pending = 0;
	assert_true(restarts(&t));
}

static void damaged_images_are_told(void **state)
{
	struct made made = make_directory();
	const Img__Core core = { PROTOBUF_C_MESSAGE_INIT(&img__core__descriptor), .machine = 1 };

	(void)state;
	assert_null(rt_restart_calls(made.fd));
	write_image(&made, "core-1.img", MAGIC_COMMON, 0x55053847, 1, &core.base); /* a process that has ended has no registers */
	write_file(&made, "core-x.img", "abc", 3);
	assert_null(rt_restart_calls(made.fd));
	write_file(&made, "core-2.img", "abc", 3);
	assert_fails(rt_restart_calls(made.fd), "core-2.img");
	remove_directory(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sleep_goes_on_unless_the_rest_is_kept_elsewhere),
		cmocka_unit_test(a_futex_where_the_time_is_a_moment),
		cmocka_unit_test(others_are_left_alone),
		cmocka_unit_test(a_signal_to_come_interrupts),
		cmocka_unit_test(damaged_images_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
