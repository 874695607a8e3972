"""End-to-end tests of the project (tests/e2e) in a guest: the command that runs some, and how each of them ended."""

import xml.etree.ElementTree as xml

from . import image as images

# What Debian forbids ordinary users, and so containers, which tests need to have forbidden things at all.
SETTINGS = "sysctl -q vm.unprivileged_userfaultfd=1 kernel.perf_event_paranoid=-1"


def slowness(accel):
    """How much longer than on hardware a test may take."""
    return 8 if accel == "tcg" else 2


def command(names, chosen, results, accel):
    """A shell command that runs the tests whose ids begin so; `chosen` is a file for their names, and `results` for JUnit's XML."""
    files = sorted({f"tests/e2e/{name.split('::')[0]}" for name in names})
    lines = "\n".join(names)
    return f"cat >{chosen} <<'END'\n{lines}\nEND\ncd {images.PROJECT}; RT=$PWD/build/rt RT_TEST_SLOWNESS={slowness(accel)} RT_LAB_CHOSEN={chosen} " \
           f"PYTHONPATH={images.PROJECT}/tests/lab /usr/bin/python3 -m pytest -q -p no:cacheprovider -p chosen --tb=short " \
           f"--durations=0 --junit-xml={results} {' '.join(files)}"


def cases(text):
    """{id: test case} of JUnit's XML."""
    return {case.get("classname").rpartition(".")[2] + ".py::" + case.get("name"): case for case in xml.fromstring(text).iter("testcase")}


def passed(found, name):
    """Fails unless the test whose id begins so has passed."""
    case = next((case for id, case in found.items() if id.startswith(name)), None)
    assert case is not None, f"{name} did not run; those were: {', '.join(found)}"
    for kind in ("failure", "error", "skipped"):
        wrong = case.find(kind)
        assert wrong is None, f"{kind}: {wrong.get('message')}\n{(wrong.text or '')[-4000:]}"
