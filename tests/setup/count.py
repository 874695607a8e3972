#!/usr/bin/python3
"""count.py meson FILE | count.py pytest FILE...: "PASSED FAILED SKIPPED" of a run, then the skips.
count.py failed FILE...: of runs of pytest, the tests that failed, as it wants to be told them.

meson: the testlog.json of `meson test`; a TAP program counts as the tests it has. pytest:
JUnit XML files. Every skip is a line "skipped: NAME: REASON" on stderr.
"""

import json
import re
import sys
import xml.etree.ElementTree as xml


def skipped(name, reason):
    print(f"skipped: {name}: {reason}", file=sys.stderr)


def count_meson(path):
    totals = [0, 0, 0]
    with open(path, encoding="utf-8") as f:
        for line in f:
            counts = count_program(json.loads(line))
            totals = [total + count for total, count in zip(totals, counts)]
    return totals


def count_program(program):
    """One program of `meson test`. Skips are counted first: the cmocka of Debian 12 writes them
    as "not ok 2 # SKIP name", which meson takes for failures."""
    passed = failed = skips = 0
    output = program.get("stdout") or ""
    outcomes = re.findall(r"^(not ok|ok)\b[^\S\n]*(.*)$", output, re.M)
    plan = re.search(r"^1\.\.(\d+)", output, re.M)
    for outcome, rest in outcomes:
        if re.search(r"# ?skip", rest, re.I):
            skips += 1
            skipped(program["name"], rest)
        elif outcome == "ok":
            passed += 1
        else:
            failed += 1
    if plan:
        complete = len(outcomes) >= int(plan[1]) and program.get("returncode") in (0, failed)
        # One more failure if it crashed, or ran out of time, after its last verdict.
        return passed, failed + (0 if complete or failed else 1), skips
    if program["result"] == "SKIP":
        skipped(program["name"], "the program says so")
        return 0, 0, 1
    return (1, 0, 0) if program["result"] in ("OK", "EXPECTEDFAIL") else (0, 1, 0)


def cases(paths):
    for path in paths:
        yield from xml.parse(path).getroot().iter("testcase")


def has_failed(case):
    return case.find("failure") is not None or case.find("error") is not None


def count_pytest(*paths):
    passed = failed = skips = 0
    for case in cases(paths):
        if has_failed(case):
            failed += 1
        elif case.find("skipped") is not None:
            skips += 1
            name = case.get("classname").rpartition(".")[2] + "." + case.get("name")
            skipped(name, case.find("skipped").get("message"))
        else:
            passed += 1
    return passed, failed, skips


def list_failed(*paths):
    for case in cases(paths):
        if has_failed(case):
            yield case.get("classname").replace(".", "/") + ".py::" + case.get("name")


if __name__ == "__main__":
    if sys.argv[1] == "failed":
        for failed_test in list_failed(*sys.argv[2:]):
            print(failed_test)
    else:
        print(*{"meson": count_meson, "pytest": count_pytest}[sys.argv[1]](*sys.argv[2:]))
