#include "runtime/cgroup/devices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ANY (-1)

static struct rt_spec_device_rule rule(bool allow, char type, int64_t major, int64_t minor, const char *access)
{
	return (struct rt_spec_device_rule){
		.allow = allow, .type = type, .major = major, .minor = minor,
		.read = strchr(access, 'r'), .write = strchr(access, 'w'), .mknod = strchr(access, 'm'),
	};
}

struct access {
	char type;
	uint32_t major, minor;
	bool read, write, mknod;
};

/* The specification's meaning, written down as plainly as can be: for each wanted bit the last rule that names it. */
static bool allowed(const struct rt_spec_device_rule *rules, size_t count, const struct access *want)
{
	bool read = !want->read, write = !want->write, mknod = !want->mknod;

	for (size_t i = 0; i < count; i++) {
		const struct rt_spec_device_rule *r = &rules[i];

		if ((r->type != 'a' && r->type != want->type) || (r->major >= 0 && r->major != want->major) ||
		    (r->minor >= 0 && r->minor != want->minor))
			continue;
		if (r->read && want->read)
			read = r->allow;
		if (r->write && want->write)
			write = r->allow;
		if (r->mknod && want->mknod)
			mknod = r->allow;
	}
	return read && write && mknod;
}

/* As much of a BPF machine as these programs need. Fails on jumps backwards or out, as the kernel's verifier would. */
static uint64_t interpret(const struct bpf_insn *code, size_t count, const struct bpf_cgroup_dev_ctx *context)
{
	uint64_t registers[11] = { 0 };

	for (size_t pc = 0; pc < count; pc++) {
		const struct bpf_insn *in = &code[pc];
		uint64_t *dst = &registers[in->dst_reg];
		uint64_t operand = BPF_SRC(in->code) == BPF_X ? registers[in->src_reg] : (uint64_t)(int64_t)in->imm;
		bool jump = false;

		if (in->code == (BPF_JMP | BPF_EXIT))
			return registers[0];
		if (in->code == (BPF_LDX | BPF_MEM | BPF_W)) {
			uint32_t word;

			assert_in_range(in->off, 0, sizeof(*context) - 4);
			memcpy(&word, (const char *)context + in->off, 4);
			*dst = word;
		} else if (BPF_CLASS(in->code) == BPF_ALU || BPF_CLASS(in->code) == BPF_ALU64) {
			switch (BPF_OP(in->code)) {
			case BPF_MOV: *dst = operand; break;
			case BPF_AND: *dst &= operand; break;
			case BPF_RSH: *dst >>= operand; break;
			default: fail();
			}
			if (BPF_CLASS(in->code) == BPF_ALU)
				*dst = (uint32_t)*dst;
		} else {
			assert_int_equal(BPF_CLASS(in->code), BPF_JMP);
			switch (BPF_OP(in->code)) {
			case BPF_JEQ: jump = *dst == operand; break;
			case BPF_JNE: jump = *dst != operand; break;
			case BPF_JSET: jump = *dst & operand; break;
			default: fail();
			}
			assert_in_range(in->off, 0, count - pc);
		}
		if (jump)
			pc += (size_t)in->off;
	}
	fail();
	return 0;
}

static bool program_allows(const struct bpf_insn *code, size_t count, const struct access *want)
{
	struct bpf_cgroup_dev_ctx context = { .major = want->major, .minor = want->minor };

	context.access_type = (uint32_t)((want->read ? BPF_DEVCG_ACC_READ : 0) | (want->write ? BPF_DEVCG_ACC_WRITE : 0) |
					 (want->mknod ? BPF_DEVCG_ACC_MKNOD : 0)) << 16 |
			      (want->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	return interpret(code, count, &context) == 1;
}

/* As v1 decides: every wanted bit must be in the exceptions that match, or (denied ones) in none. */
static bool list_allows(const struct rt_device_list *list, const struct access *want)
{
	bool read = false, write = false, mknod = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct rt_spec_device_rule *r = &list->entries[i];

		if (r->type != want->type || (r->major >= 0 && r->major != want->major) || (r->minor >= 0 && r->minor != want->minor))
			continue;
		read |= r->read;
		write |= r->write;
		mknod |= r->mknod;
	}
	if (list->default_allow)
		return !(want->read && read) && !(want->write && write) && !(want->mknod && mknod);
	return (!want->read || read) && (!want->write || write) && (!want->mknod || mknod);
}

/* Every access to the few devices that the rules of these tests speak of. */
static void compare(const struct rt_spec_device_rule *rules, size_t count)
{
	static const uint32_t numbers[] = { 0, 1, 3, 5, 7, 136 };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_device_list list;
	struct bpf_insn *code;
	size_t size;
	struct rt_error *unsayable = rt_devices_list(rules, count, &arena, &list);

	assert_null(rt_devices_program(rules, count, &arena, &code, &size));
	for (size_t i = 0; i < 2 * RT_ARRAY_SIZE(numbers) * RT_ARRAY_SIZE(numbers) * 7; i++) {
		size_t bits = i % 7 + 1, rest = i / 7;
		struct access want = {
			.type = rest % 2 ? 'b' : 'c', .major = numbers[rest / 2 % RT_ARRAY_SIZE(numbers)],
			.minor = numbers[rest / 2 / RT_ARRAY_SIZE(numbers)], .read = bits & 1, .write = bits & 2, .mknod = bits & 4,
		};
		bool expected = allowed(rules, count, &want);

		assert_int_equal(program_allows(code, size, &want), expected);
		if (!unsayable)
			assert_int_equal(list_allows(&list, &want), expected);
	}
	rt_error_free(unsayable);
	rt_arena_deinit(&arena);
}

static void without_rules_everything_is_denied(void **state)
{
	compare(NULL, 0);
}

static void every_container_gets_the_defaults_whatever_the_config_says(void **state)
{
	struct rt_spec_device_rule deny = rule(false, 'a', ANY, ANY, "rwm");
	struct rt_spec_resources resources = { .devices = &deny, .device_count = 1 };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_spec_device_rule *rules;
	size_t count;
	struct access null = { 'c', 1, 3, true, true, true }, memory = { 'c', 1, 1, true, false, false };
	struct access node = { 'b', 8, 0, false, false, true }, disk = { 'b', 8, 0, true, false, false };

	assert_null(rt_devices_all(&resources, &arena, &rules, &count));
	assert_true(allowed(rules, count, &null));
	assert_true(allowed(rules, count, &node));
	assert_false(allowed(rules, count, &memory));
	assert_false(allowed(rules, count, &disk));
	compare(rules, count);
	rt_arena_deinit(&arena);
}

static void later_rules_win_bit_by_bit(void **state)
{
	const struct rt_spec_device_rule rules[] = {
		rule(true, 'c', 1, 3, "rw"), rule(false, 'c', 1, 3, "w"), rule(true, 'c', 1, ANY, "m"), rule(true, 'b', ANY, 7, "r"),
	};

	compare(rules, RT_ARRAY_SIZE(rules));
}

static void allowing_all_keeps_later_denials(void **state)
{
	const struct rt_spec_device_rule rules[] = {
		rule(true, 'c', 5, 5, "r"), rule(true, 'a', ANY, ANY, "rwm"), rule(false, 'c', 1, 3, "w"), rule(false, 'b', 7, ANY, "rwm"),
	};

	compare(rules, RT_ARRAY_SIZE(rules));
}

static void all_types_of_one_number_are_not_all_devices(void **state)
{
	const struct rt_spec_device_rule rules[] = { rule(true, 'a', 7, ANY, "rwm"), rule(true, 'a', ANY, ANY, "r") };

	compare(rules, RT_ARRAY_SIZE(rules));
}

static void numbers_beyond_the_kernel_s_match_nothing(void **state)
{
	const struct rt_spec_device_rule rules[] = { rule(true, 'c', (1LL << 32) + 1, 3, "rwm") };
	const struct access null = { 'c', 1, 3, true, false, false };
	struct rt_arena arena = RT_ARENA_NULL;
	struct bpf_insn *code;
	size_t size;

	assert_null(rt_devices_program(rules, 1, &arena, &code, &size));
	assert_false(program_allows(code, size, &null));
	rt_arena_deinit(&arena);
}

/* Small numbers, so that rules meet; a generator of our own, so that every run is the same. */
static void any_list_means_the_same_in_all_three_forms(void **state)
{
	static const int64_t numbers[] = { ANY, ANY, 1, 3, 5, 7 };
	uint64_t seed = 1;

	for (int round = 0; round < 3000; round++) {
		struct rt_spec_device_rule rules[8];
		size_t count;

		for (count = 0; count < (size_t)round % 8; count++) {
			unsigned bits;

			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			bits = (unsigned)(seed >> 33);
			rules[count] = (struct rt_spec_device_rule){
				.allow = bits & 1, .type = "abcc"[bits >> 1 & 3], .major = numbers[(bits >> 3) % 6],
				.minor = numbers[(bits >> 8) % 6], .read = bits & 1 << 13, .write = bits & 1 << 14, .mknod = bits & 1 << 15,
			};
			if (!(bits & 7U << 13) || bits & 1 << 16)
				rules[count].read = rules[count].write = rules[count].mknod = true;
		}
		compare(rules, count);
	}
}

static void a_part_of_a_wider_rule_is_an_error_in_v1(void **state)
{
	const struct rt_spec_device_rule rules[] = { rule(true, 'c', 5, ANY, "rw"), rule(false, 'c', 5, 7, "w") };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_device_list list;
	struct rt_error *err = rt_devices_list(rules, 2, &arena, &list);

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	assert_string_equal(err->message, "'linux.resources.devices': cgroup v1 cannot deny 'c 5:7 w' once 'c 5:* rw' is allowed");
	rt_error_free(err);
	rt_arena_deinit(&arena);
}

static void the_kernel_s_list_is_read_back(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_device_list list;
	char text[RT_DEVICE_TEXT_ROOM];

	assert_null(rt_devices_parse("c *:* m\nb 8:0 rw\nc 1:3 rwm\n", &arena, &list));
	assert_false(list.default_allow);
	assert_int_equal(list.count, 3);
	assert_string_equal(rt_device_text(&list.entries[0], text), "c *:* m");
	assert_string_equal(rt_device_text(&list.entries[1], text), "b 8:0 rw");
	assert_string_equal(rt_device_text(&list.entries[2], text), "c 1:3 rwm");
	assert_null(rt_devices_parse("a *:* rwm\n", &arena, &list));
	assert_true(list.default_allow);
	assert_null(rt_devices_parse("", &arena, &list));
	assert_int_equal(list.count, 0);
	rt_arena_deinit(&arena);
}

static void nonsense_in_the_kernel_s_list_is_an_error(void **state)
{
	static const char *const bad[] = { "x 1:3 rwm", "c", "c 1", "c 1:", "c a:b r", "c 1:99999999999 r", "c 1:3" };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_device_list list;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++) {
		struct rt_error *err = rt_devices_parse(bad[i], &arena, &list);

		assert_non_null(err);
		rt_error_free(err);
	}
	rt_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rules_everything_is_denied),
		cmocka_unit_test(every_container_gets_the_defaults_whatever_the_config_says),
		cmocka_unit_test(later_rules_win_bit_by_bit),
		cmocka_unit_test(allowing_all_keeps_later_denials),
		cmocka_unit_test(all_types_of_one_number_are_not_all_devices),
		cmocka_unit_test(numbers_beyond_the_kernel_s_match_nothing),
		cmocka_unit_test(any_list_means_the_same_in_all_three_forms),
		cmocka_unit_test(a_part_of_a_wider_rule_is_an_error_in_v1),
		cmocka_unit_test(the_kernel_s_list_is_read_back),
		cmocka_unit_test(nonsense_in_the_kernel_s_list_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
