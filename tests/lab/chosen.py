"""A plugin of pytest (-p chosen): of all tests collected those are run whose ids begin with a line of the file $RT_LAB_CHOSEN. pytest's own words can't name ids that
hold anything."""

import os


def pytest_collection_modifyitems(items):
    with open(os.environ["RT_LAB_CHOSEN"]) as f:
        names = f.read().splitlines()
    items[:] = [item for item in items if any(item.nodeid.removeprefix("tests/e2e/").startswith(name) for name in names)]
