#!/bin/bash
# Everything there is to test, on a Debian machine, as root:
#
#     tests/run.sh [PART...]
#
# Parts, in the order they run without arguments:
#   setup        packages and a working criu (comes first whatever is asked for)
#   build        gcc and clang, warnings are errors
#   unit         unit tests
#   sanitizers   the same under ASan and UBSan
#   fuzz         each fuzz target for RT_FUZZ_SECONDS (10), from RT_FUZZ_SEED (1) on
#   e2e          end-to-end tests but for the engines (further arguments: see below)
#   engines      podman, containerd and Docker with `rt` as their runtime
#   conformance  the tests of crun's Debian package
#   lab          end-to-end tests that this machine's kernel makes the others skip, in a guest in QEMU (all of the lab: tests/lab/run)
#
#     tests/run.sh e2e -- -k terminal      what follows "--" goes to pytest
#
# Variables: RT_TEST_LANES, how many tests run at once (as many as there are processors); RT_BUILD, the build directory (build/ in the source), next to which the others are
# made; RT, a runtime to test instead of the one built; RT_TEST_SLOWNESS, how many times longer a test may take; RT_TEST_CACHE, where what was fetched and
# built for the tests is kept (/var/cache/rt-tests).
#
# The last line is "N passed, N failed, N skipped" over all parts; it fails if anything did.
set -uo pipefail
exec </dev/null

top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${RT_BUILD:-$top/build}
export RT_TEST_CACHE=${RT_TEST_CACHE:-/var/cache/rt-tests}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
python=/usr/bin/python3

passed=0 failed=0 skipped=0
logs=
skips=

say()
{
	printf '\n== %s\n' "$*"
}

add()
{
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	printf '   %d passed, %d failed, %d skipped\n' "$1" "$2" "$3"
}

# step NAME COMMAND...: one pass or one failure; the output is shown only if it fails.
step()
{
	local name=$1
	shift
	if "$@" >"$logs/step" 2>&1; then
		echo "   ok: $name"
		passed=$((passed + 1))
	else
		echo "   FAILED: $name"
		tail -n 60 "$logs/step"
		failed=$((failed + 1))
		return 1
	fi
}

# What has no totals because it never got that far is one failure.
count()
{
	local kind=$1 file=$2 numbers
	if numbers=$("$python" "$top/tests/setup/count.py" "$kind" "$file" 2>>"$skips") &&
		[ "$numbers" != "0 0 0" ]; then
		add $numbers
	else
		echo "   FAILED: no result in $file"
		add 0 1 0
	fi
}

# configure DIRECTORY OPTION...
configure()
{
	local directory=$1
	shift
	if [ -e "$directory/build.ninja" ]; then
		meson configure "$directory" "$@"
	else
		meson setup "$directory" "$top" "$@"
	fi
}

# configure_and_compile DIRECTORY OPTION... [-- TARGET]
configure_and_compile()
{
	local options=() directory=$1
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	configure "${options[@]}" && meson compile -C "$directory" "${@:2}"
}

part_setup()
{
	say "setup"
	"$top/tests/setup/install-packages" >"$logs/packages" 2>&1 || {
		tail -n 30 "$logs/packages"
		echo "cannot install packages"
		return 1
	}
	tail -n 1 "$logs/packages"
	"$top/tests/setup/criu.sh" 2>&1 ||
		echo "criu: none that works; what needs it is skipped"
}

build_with_gcc()
{
	if [ -z "$built" ]; then
		built=failed
		step "gcc, no warnings" configure_and_compile "$build" -Dwerror=true && built=yes
	fi
	[ "$built" != failed ]
}

part_build()
{
	say "build"
	build_with_gcc
	# Not run: quick to compile is all that it is to be.
	CC=clang step "clang, no warnings" configure_and_compile "$build-clang" -Dwerror=true -Doptimization=0
}

run_meson()
{
	rm -f "$1/meson-logs/testlog.json"
	meson test -C "$1" --no-rebuild --num-processes "$(nproc)" --timeout-multiplier "${RT_TEST_SLOWNESS:-1}" --print-errorlogs >"$logs/unit" 2>&1
}

# Some of them wait for what others on the machine may delay: what fails is told, and all are tried once more.
run_unit()
{
	local directory=$1
	if [ "$(meson test -C "$directory" --list 2>/dev/null | grep -c .)" -eq 0 ]; then
		echo "   FAILED: there are no unit tests"
		add 0 1 0
		return
	fi
	if ! run_meson "$directory"; then
		grep -v ' OK  ' "$logs/unit" | tail -n 80
		echo "   once more, as these failed:"
		grep -E ' (FAIL|ERROR|TIMEOUT) ' "$logs/unit" | sed 's/^/   /'
		run_meson "$directory" || grep -v ' OK  ' "$logs/unit" | tail -n 80
	fi
	count meson "$directory/meson-logs/testlog.json"
}

part_unit()
{
	say "unit tests"
	build_with_gcc && run_unit "$build"
}

part_sanitizers()
{
	say "unit tests under ASan and UBSan"
	step "build" configure_and_compile "$build-asan" -Ddebug=true -Doptimization=1 \
		-Db_sanitize=address,undefined || return
	ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 \
		UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 run_unit "$build-asan"
}

# What a target finds stays next to the build directory's own corpus. Where it begins is fixed, so that what fails on one machine does on another.
fuzz_one()
{
	local target=$1 name words=()
	name=$(basename "$target")
	name=${name#fuzz_}
	mkdir -p "$build-fuzz/found/$name"
	[ ! -e "$top/tests/fuzz/$name.dict" ] || words+=(-dict="$top/tests/fuzz/$name.dict")
	words+=("$build-fuzz/found/$name")
	[ ! -d "$top/tests/fuzz/corpus/$name" ] || words+=("$top/tests/fuzz/corpus/$name")
	"$target" -seed="${RT_FUZZ_SEED:-1}" -max_total_time="${RT_FUZZ_SECONDS:-10}" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
		-artifact_prefix="$build-fuzz/$name-" "${words[@]}"
}

part_fuzz()
{
	say "fuzz targets, ${RT_FUZZ_SECONDS:-10} s each"
	CC=clang step "build" configure_and_compile "$build-fuzz" -Dfuzz=true -- fuzz || return
	local target targets runs=$logs/fuzz
	targets=$(find "$build-fuzz/tests/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -perm -100 | sort)
	[ -n "$targets" ] || { echo "   FAILED: there are no fuzz targets"; add 0 1 0; }
	mkdir "$runs"
	for target in $targets; do
		while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do
			wait -n
		done
		{ fuzz_one "$target" >"$runs/${target##*/}" 2>&1; echo $? >"$runs/${target##*/}.status"; } &
	done
	wait
	for target in $targets; do
		step "${target##*/}" ended_well "$runs/${target##*/}"
	done
}

# ended_well LOG: what ran in the background, as if it ran now.
ended_well()
{
	cat "$1"
	[ "$(cat "$1.status")" = 0 ]
}

# One call of pytest, in a sandbox of its own, for some files; its result is among $logs/results.
pytest_lane()
{
	local result=$logs/results/$BASHPID
	(cd "$top" && "$python" -m pytest -q --tb=short -o cache_dir="$logs/cache.$BASHPID" --junit-xml="$result.xml" \
		"$@" "${pytest_words[@]}" >"$result.log" 2>&1)
	local code=$?
	# 5: -k has chosen none of these.
	[ $code -eq 0 ] || [ $code -eq 5 ] || tail -n 100 "$result.log"
	if [ $code -ge 2 ] && [ $code -ne 5 ]; then
		echo "   FAILED: pytest ended with $code: $*"
		touch "$result.lost"
	fi
}

# run_pytest COUNT FILE...: so many files a call, as many calls at once as there are processors, the large ones first: each call has its own sandbox, and most
# tests wait more than they work. What failed is tried once more, alone: these tests race with a kernel that other machines share. What passes
# only then is named, so that it gets looked at; what fails twice has failed.
run_pytest()
{
	local first again file lost count=$1
	shift
	rm -rf "$logs/results"
	mkdir "$logs/results"
	while read -r file; do
		while [ "$(jobs -rp | wc -l)" -ge "${RT_TEST_LANES:-$(nproc)}" ]; do
			wait -n
		done
		pytest_lane $file &
	done < <(ls -S "$@" | xargs -n "$count")
	wait
	lost=$(find "$logs/results" -name '*.lost' | wc -l)
	first=$("$python" "$top/tests/setup/count.py" pytest "$logs"/results/*.xml 2>>"$skips")
	if [[ ! $first =~ ^[0-9]+\ [0-9]+\ [0-9]+$ ]] || [ "$first" = "0 0 0" ]; then
		echo "   FAILED: no results"
		add 0 1 0
		return
	fi
	set -- $first
	if [ "$2" -eq 0 ]; then
		add "$1" "$lost" "$3"
		return
	fi
	echo "   once more, what failed:"
	"$python" "$top/tests/setup/count.py" failed "$logs"/results/*.xml | tee "$logs/failed" | sed 's/^/   /'
	mapfile -t again <"$logs/failed"
	rm -rf "$logs/results"
	mkdir "$logs/results"
	local pytest_words=()
	pytest_lane "${again[@]}"
	again=$("$python" "$top/tests/setup/count.py" pytest "$logs"/results/*.xml 2>/dev/null)
	[[ $again =~ ^[0-9] ]] || again="0 $2 0"
	add $(($1 + ${again%% *})) $(($(cut -d ' ' -f 2 <<<"$again") + lost)) "$3"
}

part_e2e()
{
	say "end-to-end tests"
	build_with_gcc || return
	# Engines have their own part; peers and lab need other machines.
	mapfile -t files < <(find "$top/tests/e2e" -name 'test_*.py' ! -name 'test_engines_*' | sort)
	run_pytest 3 "${files[@]}"
}

part_engines()
{
	say "engines"
	build_with_gcc || return
	run_pytest 1 "$top"/tests/e2e/test_engines_*.py
}

# conformance_run LOG [FLAG OF THE SANDBOX...]
conformance_run()
{
	local log=$1
	shift
	"$top/tests/setup/sandbox" "$@" "$python" "$top/tests/conformance/run.py" "$source" "$RT" >"$log" 2>&1
}

conformance_count()
{
	local title=$1 log=$2 totals
	say "conformance, $title"
	totals=$(tail -n 1 "$log")
	grep -E '^(expected to fail|skipped by itself)' "$log" | sed "s/^/conformance, $title: /" >>"$skips"
	grep -vE '^(expected to fail|skipped by itself)' "$log" | head -n -1
	if [[ $totals =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		add "${BASH_REMATCH[@]:1}"
	else
		echo "   FAILED: it ended early: $totals"
		add 0 1 0
	fi
}

part_conformance()
{
	build_with_gcc || return
	source=$logs/crun
	if ! "$top/tests/setup/apt-source" crun "$source" >"$logs/step" 2>&1; then
		say "conformance"
		tail -n 20 "$logs/step"
		echo "   FAILED: cannot fetch the source package of crun"
		add 0 1 0
		return
	fi
	local log=$logs/conformance
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		conformance_run "$log"
		conformance_count "cgroup v2" "$log"
	else
		conformance_run "$log" &
		conformance_run "$log-v2" --cgroup2
		wait
		conformance_count "cgroups as they are here" "$log"
		conformance_count "cgroup v2 alone" "$log-v2"
	fi
}

# In a guest of this machine's packages, with the programs built here; `tests/lab/run` prints its totals in our words.
part_lab()
{
	say "the lab's quick part"
	build_with_gcc || return
	local totals
	"$top/tests/lab/run" quick >"$logs/lab" 2>&1
	if grep -q '^tests/lab/run: cannot install packages' "$logs/lab"; then
		tail -n 5 "$logs/lab"
		echo "lab: QEMU and what goes with it cannot be installed" >>"$skips"
		add 0 0 1
		return
	fi
	totals=$(tail -n 1 "$logs/lab")
	if [[ $totals =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		[ "${BASH_REMATCH[2]}" -eq 0 ] || tail -n 100 "$logs/lab"
		grep '^   skipped ' "$logs/lab" | sed 's/^   skipped  *[0-9.]* s */lab: /' >>"$skips"
		add "${BASH_REMATCH[@]:1}"
	else
		tail -n 60 "$logs/lab"
		echo "   FAILED: it ended early"
		add 0 1 0
	fi
}

main()
{
	local parts=() part
	pytest_words=()
	while [ $# -gt 0 ]; do
		case $1 in
		setup | build | unit | sanitizers | fuzz | e2e | engines | conformance | lab) parts+=("$1") ;;
		--) shift; pytest_words=("$@"); break ;;
		*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2 ;;
		esac
		shift
	done
	[ ${#parts[@]} -gt 0 ] ||
		parts=(build unit sanitizers fuzz e2e engines conformance lab)
	if [ "$(id -u)" -ne 0 ]; then
		echo "tests/run.sh: must be root" >&2
		exit 1
	fi
	logs=$(mktemp -d /tmp/rt-tests.XXXXXX)
	chmod 755 "$logs"
	trap 'rm -rf "$logs"' EXIT
	skips=$logs/skips
	: >"$skips"
	built=${RT:+given}
	export RT=${RT:-$build/rt}
	if part_setup; then
		for part in "${parts[@]}"; do
			local began=$SECONDS
			[ "$part" = setup ] || "part_$part"
			echo "   ($((SECONDS - began)) s)"
		done
	else
		add 0 1 0
	fi
	if [ -s "$skips" ]; then
		say "skipped"
		sed 's/^skipped: //' "$skips" | sort | uniq -c | sed 's/^ *1 /   /' | head -n 60
	fi
	printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" -eq 0 ]
}

main "$@"
