"""Fixtures of the escape tests: what is attacked with, and what must stay as it was."""

import shutil

import pytest

import escapes
from escapes import KNOB, WANTED
from lib import container as containers


@pytest.fixture(scope="session")
def tools(templates):
    return escapes.build(f"{templates}/escape-tools")


@pytest.fixture
def canary(work):
    found = escapes.Canary(f"{work}/host")
    yield found
    found.assert_untouched()


@pytest.fixture
def witness(work):
    return escapes.Witness(f"{work}/witness")


@pytest.fixture
def knob():
    """The host's kernel must keep its setting; if an attack succeeds, it gets it back. To be
    named before `container`, so that whoever could still write is gone by then."""
    before = escapes.read(KNOB)
    assert before.strip() != WANTED
    yield KNOB
    after = escapes.read(KNOB)
    if after != before:
        with open(KNOB, "w") as f:
            f.write(before)
    assert after == before, "a container has set the host's kernel"


@pytest.fixture
def copy_of_runtime(work, monkeypatch):
    """A copy of the runtime to be the one under test: what an attack destroys is only that."""
    path = f"{work}/runtime"
    shutil.copy2(containers.runtime(), path)
    monkeypatch.setenv("RT", path)
    before = escapes.digest(path)
    yield path
    assert escapes.digest(path) == before, "the runtime's binary was overwritten"


def refused_or_ran(result):
    """A refusal must be one: a sentence, not a crash."""
    assert result.code >= 0 and result.code < 126 or result.code in (126, 127), repr(result)
    if result.code != 0:
        assert result.err.strip() or result.out.strip(), repr(result)
    return result.code == 0
