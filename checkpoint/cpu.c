#include "checkpoint/cpu.h"

#include "checkpoint/manifest.h"
#include "checkpoint/unpack.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

/* One processor's paragraph is 2 KiB or so; all of a large machine would be megabytes. */
#define CPUINFO_ROOM 16384
#define FLAGS_MAX 1024
#define NAME_MAX_BYTES 64

/* x86: what programs and libraries choose their code by. The rest of the flags is the kernel's own business and differs from
 * one kernel to the next on the same machine. */
static const char *const user_flags[] = {
	"cx8", "cmov", "fxsr", "mmx", "sse", "sse2", "pni", "pclmulqdq", "ssse3", "fma", "cx16", "sse4_1", "sse4_2", "movbe",
	"popcnt", "aes", "xsave", "xsaveopt", "xsavec", "xsaves", "avx", "f16c", "rdrand", "abm", "sse4a", "misalignsse",
	"3dnowprefetch", "xop", "fma4", "tbm", "fsgsbase", "bmi1", "avx2", "bmi2", "erms", "fsrm", "rtm", "hle", "rdseed", "adx",
	"clflushopt", "clwb", "sha_ni", "avx512f", "avx512dq", "avx512ifma", "avx512cd", "avx512bw", "avx512vl", "avx512pf",
	"avx512er", "avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bitalg", "avx512_vpopcntdq", "avx512_bf16",
	"avx512_fp16", "avx512_4vnniw", "avx512_4fmaps", "avx512_vp2intersect", "avx_vnni", "avx_ifma", "avx_vnni_int8",
	"avx_vnni_int16", "gfni", "vaes", "vpclmulqdq", "rdpid", "rdtscp", "pku", "ospke", "movdiri", "movdir64b", "serialize",
	"waitpkg", "cldemote", "clzero", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "lahf_lm", "user_shstk", "cmpccxadd",
	"sha512", "sm3", "sm4", "lzcnt",
};

/* The value of a "key\t: value" line, NUL-terminated in place; NULL where the paragraph has none. */
static char *value_of(char *line, const char *key)
{
	size_t length = strlen(key);
	char *colon;

	if (strncmp(line, key, length) != 0 || (line[length] != '\t' && line[length] != ' ' && line[length] != ':'))
		return NULL;
	colon = strchr(line, ':');
	if (!colon)
		return NULL;
	return colon + 1 + strspn(colon + 1, " \t");
}

static struct rt_error *add_flags(Rt__Cpu *cpu, char *text)
{
	char *state = NULL;

	for (char *flag = strtok_r(text, " ", &state); flag; flag = strtok_r(NULL, " ", &state)) {
		struct rt_error *err;

		if (cpu->n_flags >= FLAGS_MAX)
			return NULL;
		err = rt_manifest_append_string(&cpu->flags, &cpu->n_flags, flag);
		if (err)
			return err;
	}
	return NULL;
}

static struct rt_error *take_line(Rt__Cpu *cpu, char *line)
{
	char *value;

	if ((value = value_of(line, "vendor_id")) || (value = value_of(line, "CPU implementer")))
		return rt_manifest_set(&cpu->vendor, value);
	if ((value = value_of(line, "model name")) || (value = value_of(line, "CPU part")) || (value = value_of(line, "uarch")))
		return rt_manifest_set(&cpu->model, value);
	if ((value = value_of(line, "flags")) || (value = value_of(line, "Features")) || (value = value_of(line, "isa")))
		return cpu->n_flags ? NULL : add_flags(cpu, value);
	return NULL;
}

static struct rt_error *read_first_processor(char *text, size_t room)
{
	_cleanup_close_ int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	size_t size = 0;

	if (fd < 0)
		return rt_fail_errno("cannot open '/proc/cpuinfo'");
	while (size < room - 1) {
		ssize_t got = read(fd, text + size, room - 1 - size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read '/proc/cpuinfo'");
		size += (size_t)got;
		text[size] = '\0';
		if (got == 0 || strstr(text, "\n\n"))
			break;
	}
	text[size] = '\0';
	return NULL;
}

static uint64_t xsave_size(void)
{
#if defined(__x86_64__) || defined(__i386__)
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx))
		return ebx; /* of what the kernel has enabled */
#endif
	return 0;
}

struct rt_error *rt_cpu_describe(Rt__Cpu *cpu)
{
	_cleanup_free_ char *text = malloc(CPUINFO_ROOM);
	struct rt_error *err;
	char *state = NULL, *end;

	if (!text)
		return rt_error_oom();
	err = read_first_processor(text, CPUINFO_ROOM);
	if (err)
		return err;
	end = strstr(text, "\n\n");
	if (end)
		*end = '\0';
	for (char *line = strtok_r(text, "\n", &state); line && !err; line = strtok_r(NULL, "\n", &state))
		err = take_line(cpu, line);
	cpu->xsave_size = xsave_size();
	return err;
}

static bool has_flag(const Rt__Cpu *cpu, const char *flag)
{
	for (size_t i = 0; i < cpu->n_flags; i++)
		if (rt_str_equal(cpu->flags[i], flag))
			return true;
	return false;
}

/* Of no other is a sentence made: the list may be anybody's. */
static bool is_name(const char *flag)
{
	size_t length = strspn(flag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return length > 0 && length <= NAME_MAX_BYTES && !flag[length];
}

static bool matters(const Rt__Cpu *cpu, const char *flag)
{
	if (!is_name(flag))
		return false;
	/* Elsewhere than on x86 the list names instructions only. */
	if (!has_flag(cpu, "cx8"))
		return true;
	for (size_t i = 0; i < RT_ARRAY_SIZE(user_flags); i++)
		if (rt_str_equal(user_flags[i], flag))
			return true;
	return false;
}

struct rt_error *rt_cpu_missing(const Rt__Cpu *needs, const Rt__Cpu *has, char **ret)
{
	_cleanup_free_ char *list = NULL;

	for (size_t i = 0; i < needs->n_flags; i++) {
		const char *flag = needs->flags[i];
		char *longer;
		struct rt_error *err;

		if (has_flag(has, flag) || !matters(needs, flag))
			continue;
		err = rt_format(&longer, "%s%s%s", list ? list : "", list ? ", " : "", flag);
		if (err)
			return err;
		free(list);
		list = longer;
	}
	*ret = rt_take_ptr(list);
	return NULL;
}

struct rt_error *rt_cpu_features(const Rt__Cpu *cpu, char **ret)
{
	const Rt__Cpu none = RT__CPU__INIT;

	return rt_cpu_missing(cpu, &none, ret);
}

static struct rt_error *require_features(const Rt__Cpu *needs)
{
	_cleanup_free_ char *missing = NULL;
	Rt__Cpu *here = calloc(1, sizeof(*here));
	struct rt_error *err;

	if (!here)
		return rt_error_oom();
	rt__cpu__init(here);
	err = rt_cpu_describe(here);
	if (!err)
		err = rt_cpu_missing(needs, here, &missing);
	rt_unpack_free(&here->base);
	if (!err && missing)
		err = rt_fail(RT_CONFIG, "the processor here lacks what that of the checkpoint has, and its programs may use: %s", missing);
	return err;
}

struct rt_error *rt_cpu_require(const Rt__Maker *maker, const Rt__Cpu *needs)
{
	struct utsname here;

	if (uname(&here) < 0)
		return rt_fail_errno("cannot ask for the kernel's name");
	if (maker && *maker->architecture && !rt_str_equal(maker->architecture, here.machine))
		return rt_fail(RT_CONFIG, "the checkpoint was made on %s, this host is %s", maker->architecture, here.machine);
	return needs ? require_features(needs) : NULL;
}
