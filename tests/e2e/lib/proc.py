"""Running programs: nothing inherited but stdin, stdout and stderr, always a time limit.

Output goes through files, not pipes: `rt create` leaves a container behind that holds its
stdout, and a pipe would then never end.
"""

import os
import signal
import subprocess
import tempfile
import time

DEFAULT_TIMEOUT = 30
SLOWNESS = float(os.environ.get("RT_TEST_SLOWNESS", "1"))  # of a machine without KVM, say: every time limit is so many times longer


class Result:
    def __init__(self, argv, code, out, err, seconds):
        self.argv = argv
        self.code = code
        self.out = out
        self.err = err
        self.seconds = seconds

    def __repr__(self):
        return (f"{' '.join(map(str, self.argv))}\n-> {self.code} after {self.seconds:.2f} s\n"
                f"stdout: {self.out[-4000:]}\nstderr: {self.err[-4000:]}")

    def check(self):
        assert self.code == 0, repr(self)
        return self


def run(argv, *, ok=True, timeout=DEFAULT_TIMEOUT, stdin=None, stdout=None, stderr=None, cwd=None,
        env=None, pass_fds=()):
    """Runs argv to its end. With ok=True a non-zero status fails the test, ok=False a zero one,
    ok=None takes either. stdin: text, or an fd; nothing means /dev/null. stdout and stderr: an
    fd to use instead of capturing (the Result then has "" there)."""
    argv = [str(a) for a in argv]
    timeout *= SLOWNESS
    began = time.monotonic()
    with tempfile.TemporaryFile() as out_file, tempfile.TemporaryFile() as err_file, \
            tempfile.TemporaryFile() as in_file:
        if isinstance(stdin, str):
            in_file.write(stdin.encode())
            in_file.seek(0)
            stdin = in_file
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=out_file if stdout is None else stdout,
            stderr=err_file if stderr is None else stderr,
            cwd=cwd, env=env, pass_fds=pass_fds, close_fds=True, start_new_session=True)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            result = Result(argv, "timeout", slurp(out_file), slurp(err_file), timeout)
            raise AssertionError(f"still running after {timeout} s: {result!r}") from None
        result = Result(argv, code, slurp(out_file), slurp(err_file), time.monotonic() - began)
    if ok is True:
        assert result.code == 0, repr(result)
    elif ok is False:
        assert result.code != 0, "this should have failed: " + repr(result)
    return result


def slurp(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def start(argv, *, stdin=None, stdout=None, stderr=None, cwd=None, env=None, pass_fds=()):
    """A program in the background: its Popen. Whoever starts it ends it."""
    null = subprocess.DEVNULL
    return subprocess.Popen([str(a) for a in argv], stdin=null if stdin is None else stdin,
                            stdout=null if stdout is None else stdout,
                            stderr=null if stderr is None else stderr, cwd=cwd, env=env,
                            pass_fds=pass_fds, close_fds=True, start_new_session=True)


def eventually(condition, *, timeout=10, what=None):
    """Waits until condition() is true, and returns what it returned."""
    timeout *= SLOWNESS
    deadline = time.monotonic() + timeout
    delay = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(delay)
        delay = min(delay * 2, 0.1)


def alive(pid):
    """Whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_quietly(pid):
    """SIGKILL to a process of the test's own that may have ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
