"""Containers whose process does what a test tells it: the way to make a process hold something, and
to ask it after a restore whether it still does.

    def test_a_variable(inside):
        c = inside()                        # the fixture; changes={...} and the like as for `container`
        c.do("x = 42")
        frozen.around(c)
        assert c.do("x") == 42
"""

import ast
import json
import os
import shutil
import subprocess

from . import agent, proc, rootfs

PYTHON = "/usr/bin/python3"
COMMAND = [PYTHON, "-I", "-S", "/agent/agent.py"]


def build(root):
    """busybox, the host's Python, and of its library what the agent uses."""
    rootfs.busybox(root)
    rootfs.add_binary(root, PYTHON)
    script = (f"import json, sys, encodings.ascii, encodings.idna, encodings.latin_1, {', '.join(agent.MODULES)}, ast, traceback\n"
              "print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)]))")
    found = subprocess.run([PYTHON, "-I", "-S", "-c", script], capture_output=True, check=True, text=True).stdout
    for path in json.loads(found):
        rootfs.add_binary(root, path)
    os.makedirs(root + agent.DIRECTORY)
    shutil.copy(agent.__file__, root + agent.DIRECTORY)


rootfs.BUILDERS["python"] = build
rootfs.COMMANDS["python"] = COMMAND


def tell(c, text):
    """Hands over a request and does not wait."""
    tell_at(c.host_path(agent.DIRECTORY), text)


def tell_at(path, text):
    with open(f"{path}/request.new", "w") as f:
        f.write(text)
    os.rename(f"{path}/request.new", f"{path}/request")


def answer(c, timeout=20):
    return answer_at(c.host_path(agent.DIRECTORY), timeout)


def answer_at(path, timeout=20):
    path += "/answer"
    proc.eventually(lambda: os.path.exists(path), timeout=timeout, what="an answer from inside")
    with open(path) as f:
        fine, value = ast.literal_eval(f.read())
    os.unlink(path)
    assert fine, value
    return value


def do(c, text, timeout=20):
    """Statements of Python, executed inside; the value of the last one, if it is an expression of plain values."""
    tell(c, text)
    return answer(c, timeout)


def ask(pid, text):
    """The same of a process whose files are elsewhere than those of its `container`: of a clone."""
    path = f"/proc/{pid}/root{agent.DIRECTORY}"
    tell_at(path, text)
    return answer_at(path)
