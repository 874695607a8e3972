"""`rt bundle create`, and what must hold when it refuses."""

import itertools
import os

from . import container, proc

numbers = itertools.count(1)


def argv(*words):
    return [container.runtime(), "bundle", *words]


def create(work, path, *words, name=None, **how):
    """The bundle's directory."""
    directory = f"{work}/{name or f'bundle{next(numbers)}'}"
    proc.run(argv("create", *words, path, directory), **how)
    return directory


def refused(work, path, *parts, words=(), **how):
    """One sentence, no crash, and nothing where the bundle would be."""
    before = sorted(os.listdir(work))
    result = proc.run(argv("create", *words, path, f"{work}/refused"), ok=None, **how)
    assert result.code == 1, repr(result)
    assert result.err.count("\n") == 1 and result.err.startswith("rt: making a bundle of "), result.err
    for part in parts:
        assert part in result.err, result.err
    assert sorted(os.listdir(work)) == before
    return result
