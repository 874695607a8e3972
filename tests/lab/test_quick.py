"""What tests/run.sh has of the lab (its part "lab"): the end-to-end tests that this machine's kernel makes them skip, on Debian's kernel, with this machine's packages and build.

They run in one go in a guest that lives for nothing else; a test here says how one of them ended.
"""

import os

import pytest

from machines import endtoend, own
from machines import image as images
from test_features import SKIPPED_ELSEWHERE

BUILD = os.path.dirname(os.environ.get("RT") or f"{images.TOP}/build/rt")
LIMIT = 900
# Two that take a minute each without KVM are left to `features`; a third test has soft-dirty here.
NAMES = [name for name in SKIPPED_ELSEWHERE if "::test_trackers[" not in name]


@pytest.fixture(scope="module")
def cases(lab):
    if not os.path.exists(BUILD + "/rt"):
        pytest.skip("nothing is built here (tests/run.sh build)")
    if os.uname().machine != "x86_64":
        pytest.skip("the lab's guests are x86-64")
    script = f"{endtoend.SETTINGS}; {endtoend.command(NAMES, '/root/chosen', '/root/results', lab.accel)}"
    said, results = own.run(lab.work, BUILD, script, LIMIT)
    print(said)
    assert results, f"the guest has no results: {said[-6000:]}"
    return endtoend.cases(results)


@pytest.mark.limit(LIMIT + 120)
@pytest.mark.parametrize("name", NAMES)
def test_skipped_here(cases, name):
    endtoend.passed(cases, name)
