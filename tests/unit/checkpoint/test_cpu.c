#include "checkpoint/cpu.h"
#include "checkpoint/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>

#include <cmocka.h>

static Rt__Cpu with(const char **flags, size_t count)
{
	Rt__Cpu cpu = RT__CPU__INIT;

	cpu.flags = (char **)flags;
	cpu.n_flags = count;
	return cpu;
}

#define WITH(list) with(list, RT_ARRAY_SIZE(list))

static void assert_missing(const Rt__Cpu *needs, const Rt__Cpu *has, const char *list)
{
	_cleanup_free_ char *missing = NULL;

	assert_null(rt_cpu_missing(needs, has, &missing));
	if (list)
		assert_string_equal(missing, list);
	else
		assert_null(missing);
}

static void assert_refused(struct rt_error *err, const char *part)
{
	_cleanup_error_ struct rt_error *refusal = err;

	assert_non_null(refusal);
	assert_int_equal(refusal->code, RT_CONFIG);
	if (!strstr(refusal->message, part))
		fail_msg("\"%s\" lacks \"%s\"", refusal->message, part);
}

static void missing_instructions_are_listed_and_kernel_flags_are_not(void **state)
{
	const char *wanted[] = { "cx8", "sse2", "avx512f", "avx512bw", "constant_tsc" }, *there[] = { "cx8", "sse2" };
	const Rt__Cpu needs = WITH(wanted), has = WITH(there);

	assert_missing(&needs, &has, "avx512f, avx512bw");
	assert_missing(&has, &needs, NULL);
	assert_missing(&needs, &needs, NULL);
}

static void elsewhere_than_on_x86_all_flags_are_instructions(void **state)
{
	const char *wanted[] = { "fp", "asimd", "sve", "sve2" }, *there[] = { "asimd", "fp" };
	const Rt__Cpu needs = WITH(wanted), has = WITH(there);

	assert_missing(&needs, &has, "sve, sve2");
}

static void what_is_no_name_gets_into_no_sentence(void **state)
{
	char endless[1000];
	const char *wanted[] = { "sve\nrt: all is well", "", "\x1b[2J", "a b", endless, "sve" };
	const Rt__Cpu needs = WITH(wanted), has = RT__CPU__INIT;

	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	assert_missing(&needs, &has, "sve");
}

static void this_processor_is_described_and_has_what_it_has(void **state)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	_cleanup_free_ char *features = NULL;

	assert_null(rt_manifest_new(40201, &manifest));
	assert_true(manifest->cpu->n_flags > 0);
	assert_missing(manifest->cpu, manifest->cpu, NULL);
	assert_null(rt_cpu_features(manifest->cpu, &features));
	assert_non_null(features);
#if defined(__x86_64__)
	assert_true(*manifest->cpu->vendor && manifest->cpu->xsave_size >= 512);
	assert_non_null(strstr(features, "sse2"));
	assert_null(strstr(features, "constant_tsc"));
#endif
	assert_null(rt_cpu_require(manifest->maker, manifest->cpu));
}

static void a_checkpoint_of_another_processor_is_refused(void **state)
{
	static const char *const added[] = { "xop", "avx512er", "avx512_4fmaps" }; /* no processor has all of them */
	_cleanup_manifest_ Rt__Manifest *manifest = NULL, *here = NULL;
	_cleanup_free_ char *missing = NULL;

	assert_null(rt_manifest_new(40201, &manifest));
	assert_null(rt_manifest_new(40201, &here));
	for (size_t i = 0; i < RT_ARRAY_SIZE(added); i++)
		assert_null(rt_manifest_append_string(&manifest->cpu->flags, &manifest->cpu->n_flags, added[i]));
	assert_null(rt_cpu_missing(manifest->cpu, here->cpu, &missing));
	assert_non_null(missing);
	assert_refused(rt_cpu_require(manifest->maker, manifest->cpu),
		       "the processor here lacks what that of the checkpoint has, and its programs may use: ");
	assert_refused(rt_cpu_require(NULL, manifest->cpu), missing);
}

static void a_checkpoint_of_another_architecture_is_refused(void **state)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct utsname here;
	char part[128];

	assert_int_equal(uname(&here), 0);
	assert_null(rt_manifest_new(40201, &manifest));
	assert_null(rt_manifest_set(&manifest->maker->architecture, "vax"));
	snprintf(part, sizeof(part), "the checkpoint was made on vax, this host is %s", here.machine);
	assert_refused(rt_cpu_require(manifest->maker, manifest->cpu), part);
	assert_refused(rt_cpu_require(manifest->maker, NULL), part);
}

static void what_is_not_known_is_no_reason(void **state)
{
	const Rt__Maker nobody = RT__MAKER__INIT;
	const Rt__Cpu nothing = RT__CPU__INIT;

	assert_null(rt_cpu_require(NULL, NULL));
	assert_null(rt_cpu_require(&nobody, &nothing));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_instructions_are_listed_and_kernel_flags_are_not),
		cmocka_unit_test(elsewhere_than_on_x86_all_flags_are_instructions),
		cmocka_unit_test(what_is_no_name_gets_into_no_sentence),
		cmocka_unit_test(this_processor_is_described_and_has_what_it_has),
		cmocka_unit_test(a_checkpoint_of_another_processor_is_refused),
		cmocka_unit_test(a_checkpoint_of_another_architecture_is_refused),
		cmocka_unit_test(what_is_not_known_is_no_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
