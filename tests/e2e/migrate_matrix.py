#!/usr/bin/python3
"""The matrix of faults of migration: each process killed (alone, and two at once), and the link cut, at each step of it, in each mode; and bytes spoilt on the way.

    tests/e2e/migrate_matrix.py                         # every case once
    tests/e2e/migrate_matrix.py --seed 4 --runs 300     # so many, in an order that the seed tells
    tests/e2e/migrate_matrix.py --only 'stop worker-ready kill:daemon'

Needs root; runs in tests/setup/sandbox. Prints a line a run and the totals; its status says whether any run went wrong."""

import argparse
import collections
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SANDBOX = os.path.normpath(os.path.join(HERE, "../setup/sandbox"))
WORK = "/run/faults"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, help="default: the whole matrix")
    parser.add_argument("--only", default="", help="a regular expression over 'mode point fault'")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further run after this time")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not os.environ.get("RT_SANDBOX"):
        os.execv(SANDBOX, [SANDBOX, sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    sys.path.insert(0, HERE)
    from lib import faults
    matrix = [case for case in [*faults.every_case(), *faults.every_byte()] if re.search(options.only, str(case))]
    cases = faults.chosen(matrix, options.runs or len(matrix), options.seed)
    os.makedirs(WORK)
    pair = faults.Pair(WORK)
    totals, began = collections.Counter(), time.monotonic()
    for number, case in enumerate(cases, 1):
        if time.monotonic() - began > options.seconds:
            break
        at = time.monotonic()
        result = pair.run(case)
        totals.update(runs=1, wrong=bool(result.wrong), reached=result.reached, **{f"lives on the {result.where}": 1})
        totals["two copies"] += "+" in str(result.where)
        totals["no copy"] += result.where == "nowhere"
        if result.thaw:
            totals["slowest thaw, ms"] = max(totals["slowest thaw, ms"], round(result.thaw * 1000))
        print(f"{number}/{len(cases)} {time.monotonic() - at:.1f} s {result}", flush=True)
        if options.verbose or result.wrong:
            print(f"    tool {result.tool}: {result.said.strip()[-600:]}\n    recover: {result.recovered}", flush=True)
    print(", ".join(f"{name} {count}" for name, count in totals.items()), f"in {time.monotonic() - began:.0f} s")
    if options.verbose:
        pair.log.flush()
        print(open(f"{WORK}/receive.log").read())
    pair.close()
    return 1 if totals["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
