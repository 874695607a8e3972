/* The rule list as a program. For each access the kernel runs it with the device and the wanted bits (read, write, mknod);
 * it walks the rules from the last to the first: a denying rule that names a wanted bit ends it with "no", an allowing one
 * strikes its bits out, and when none is left the answer is "yes". What no rule names is denied.
 *
 * The kernel takes several microseconds an instruction to verify a program at every start, so neighbours of one driver share
 * its test, and both answers stand once, at the end. */
#include "runtime/cgroup/devices.h"

#include <stddef.h>
#include <stdint.h>

enum {
	WANTED = BPF_REG_2, /* bits still to be granted */
	KIND = BPF_REG_3,
	MAJOR = BPF_REG_4,
	MINOR = BPF_REG_5,
};

#define HEAD_SIZE 6
#define RULE_MOST 5
#define TAIL_SIZE 5
/* The verifier's limit on kernels before 5.2, and for everybody without CAP_BPF. */
#define PROGRAM_MOST 4096

/* Where a jump goes; aimed once everything is written. */
enum aim { NOWHERE, TO_YES, TO_NO };

struct program {
	struct bpf_insn *code;
	enum aim *aims; /* one each */
	size_t count;
};

static void emit(struct program *program, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	program->code[program->count++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15U, .src_reg = src & 15U, .off = off, .imm = imm,
	};
}

static void load(struct program *program, uint8_t to, size_t offset)
{
	emit(program, BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, (int16_t)offset, 0);
}

static void emit_head(struct program *program)
{
	/* access_type: the kind of device below, the wanted bits above. */
	load(program, WANTED, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(program, BPF_ALU64 | BPF_MOV | BPF_X, KIND, WANTED, 0, 0);
	emit(program, BPF_ALU | BPF_AND | BPF_K, KIND, 0, 0, 0xffff);
	emit(program, BPF_ALU | BPF_RSH | BPF_K, WANTED, 0, 0, 16);
	load(program, MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
	load(program, MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
}

static int32_t access_bits(const struct rt_spec_device_rule *rule)
{
	return (rule->read ? BPF_DEVCG_ACC_READ : 0) | (rule->write ? BPF_DEVCG_ACC_WRITE : 0) |
	       (rule->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
}

/* Numbers beyond what the kernel has must not come out truncated to ones it has. */
static bool can_match(const struct rt_spec_device_rule *rule)
{
	return access_bits(rule) && rule->major <= INT32_MAX && rule->minor <= INT32_MAX;
}

static void jump_if(struct program *program, uint8_t test, uint8_t field, int32_t value, enum aim aim)
{
	program->aims[program->count] = aim;
	emit(program, BPF_JMP | test | BPF_K, field, 0, 0, value);
}

/* Forward jumps out of a rule, or of a run of rules, to what comes after. */
struct skips {
	size_t from[3], count;
};

static void skip_unless(struct program *program, struct skips *skips, uint8_t field, int32_t value)
{
	skips->from[skips->count++] = program->count;
	jump_if(program, BPF_JNE, field, value, NOWHERE);
}

static void skips_end(struct program *program, const struct skips *skips)
{
	for (size_t i = 0; i < skips->count; i++)
		program->code[skips->from[i]].off = (int16_t)(program->count - skips->from[i] - 1);
}

static void skip_other_drivers(struct program *program, struct skips *skips, const struct rt_spec_device_rule *rule)
{
	if (rule->type != 'a')
		skip_unless(program, skips, KIND, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (rule->major >= 0)
		skip_unless(program, skips, MAJOR, (int32_t)rule->major);
}

static void emit_rule(struct program *program, const struct rt_spec_device_rule *rule)
{
	struct skips skips = { .count = 0 };

	skip_other_drivers(program, &skips, rule);
	if (rule->minor >= 0)
		skip_unless(program, &skips, MINOR, (int32_t)rule->minor);
	if (rule->allow) {
		emit(program, BPF_ALU | BPF_AND | BPF_K, WANTED, 0, 0, ~access_bits(rule));
		jump_if(program, BPF_JEQ, WANTED, 0, TO_YES);
	} else {
		jump_if(program, BPF_JSET, WANTED, access_bits(rule), TO_NO);
	}
	skips_end(program, &skips);
}

/* One device, allowed in every way: whatever is still wanted may be had. */
static bool is_plain(const struct rt_spec_device_rule *rule)
{
	return rule->allow && rule->minor >= 0 && rule->read && rule->write && rule->mknod;
}

/* Rules from `last` downwards that are plain and of one driver; at least one. Gives back how many. */
static size_t emit_run(struct program *program, const struct rt_spec_device_rule *last, size_t most)
{
	struct skips skips = { .count = 0 };
	size_t done = 0;

	skip_other_drivers(program, &skips, last);
	for (; done < most; done++) {
		const struct rt_spec_device_rule *rule = last - done;

		if (!is_plain(rule) || !can_match(rule) || rule->type != last->type || rule->major != last->major)
			break;
		jump_if(program, BPF_JEQ, MINOR, (int32_t)rule->minor, TO_YES);
	}
	skips_end(program, &skips);
	return done;
}

static void emit_tail(struct program *program, bool otherwise)
{
	size_t yes, no;

	/* Both answers must be reachable, or the verifier refuses the program. */
	emit(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, otherwise);
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	yes = no = program->count - 2;
	for (size_t i = 0; i < program->count; i++) {
		bool wants_other = program->aims[i] == (otherwise ? TO_NO : TO_YES);

		if (!wants_other)
			continue;
		if (yes == no) {
			*(otherwise ? &no : &yes) = program->count;
			emit(program, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, !otherwise);
			emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		}
	}
	for (size_t i = 0; i < program->count; i++)
		if (program->aims[i] != NOWHERE)
			program->code[i].off = (int16_t)((program->aims[i] == TO_YES ? yes : no) - i - 1);
}

static bool is_everything(const struct rt_spec_device_rule *rule)
{
	return rule->type == 'a' && rule->major < 0 && rule->minor < 0 && rule->read && rule->write && rule->mknod;
}

struct rt_error *rt_devices_program(const struct rt_spec_device_rule *rules, size_t count, struct rt_arena *arena,
				    struct bpf_insn **ret, size_t *ret_count)
{
	struct program program = { .count = 0 };
	size_t first = count, room;
	bool otherwise = false;

	/* Rules before the last "everything" can't be reached, and the verifier refuses code that can't. */
	while (first > 0 && !is_everything(&rules[first - 1]))
		first--;
	if (first > 0)
		otherwise = rules[first - 1].allow;
	room = HEAD_SIZE + (count - first) * RULE_MOST + TAIL_SIZE;
	program.code = rt_arena_calloc(arena, room, sizeof(*program.code));
	program.aims = rt_arena_calloc(arena, room, sizeof(*program.aims));
	if (!program.code || !program.aims)
		return rt_error_oom();
	emit_head(&program);
	for (size_t i = count; i > first;) {
		const struct rt_spec_device_rule *rule = &rules[i - 1];

		if (can_match(rule) && is_plain(rule)) {
			i -= emit_run(&program, rule, i - first);
			continue;
		}
		if (can_match(rule))
			emit_rule(&program, rule);
		i--;
	}
	emit_tail(&program, otherwise);
	if (program.count > PROGRAM_MOST)
		return rt_fail(RT_CONFIG, "'linux.resources.devices' has more rules than the kernel takes");
	*ret = program.code;
	*ret_count = program.count;
	return NULL;
}
