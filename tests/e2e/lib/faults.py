"""Migrations that are broken on purpose: two roots on one machine, a link between them that can be cut or spoil bytes, and a look at what is alive.

    pair = Pair(work)
    result = pair.run(Case("pre-copy", "worker-ready", "kill:daemon", seed=7))
    assert not result.wrong, result

A run moves a `pulse` (pulse.c) and stops at a point of the migration (RT_MIGRATE_PAUSE), does one bad thing there, lets everybody go on, does what a person would do
afterwards (start `rt receive` again, mend the link, `rt migrate --recover`), and then looks: exactly one copy must go on from where it was, with its memory right,
and nothing else may be left."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import cgroup, container, proc
from . import config as configs
from .link import Link

POINTS = ["tool-offer", "tool-rootfs", "worker-receiving", "tool-memory", "tool-prepare", "dumper-prepared", "tool-freeze", "dumper-frozen", "dumper-complete",
          "tool-final", "worker-restoring", "worker-ready", "tool-commit", "tool-held", "worker-decided", "worker-committed", "worker-running", "tool-push",
          "worker-complete", "tool-finish", "dumper-commit"]
MODES = ["stop", "pre-copy", "post-copy", "hybrid", "auto"]
# The injector makes system calls in the container's processes for the tool (inject_guard.c), the rescuer lets the container go on for a dumper that is gone (rescue.c);
# both call themselves rt-guard. The guardian ends a container on the target whose memory is lost (guardian.c).
VICTIMS = ["tool", "injector", "dumper", "rescuer", "source-criu", "daemon", "worker", "target-criu", "guardian"]
PAIRS = ["tool+dumper", "tool+source-criu", "tool+daemon", "tool+injector", "dumper+daemon", "dumper+rescuer", "source-criu+rescuer", "daemon+worker",
         "daemon+target-criu", "worker+guardian", "target-criu+guardian"]
LINK = ["hold", "cut", "reset"]
# What is on its way: the end of a request's path, whether it is the answer, and bytes of it (after its head; bodies are chunked, so the first is a chunk's size).
BYTES = {
    "offer": ("/migrations", False, [0, 9, 60, 400]), "offer-answer": ("/migrations", True, [-9, -30, 0, 1, 20]),
    "tree": ("/rootfs", False, [0, 7, 30, 300, 20000]), "tree-answer": ("/rootfs", True, [-9, -40]),
    "page-header": ("/pages", False, [0, 7, 9, 12, 18, 24, 30, 38]), "page": ("/pages", False, [60, 3000, 30000]), "page-answer": ("/pages", True, [-9, -40]),
    "early-header": ("/images", False, [0, 7, 9, 12, 18, 24, 30, 38]), "early": ("/images", False, [60, 200, 1500, 30000]), "early-answer": ("/images", True, [-9, -40]),
    "image-header": ("/final", False, [0, 7, 9, 12, 18, 24, 30, 38]), "image": ("/final", False, [60, 200, 1500, 4000]), "final-answer": ("/final", True, [-9, -40, 0, 1, 3]),
    "commit": ("/commit", False, [-2, -30]), "commit-answer": ("/commit", True, [-9, -40, 0, 1, 3]),
}
# Where the source stands frozen and the target can't have been asked to let it run: here a lost connection must not cost more than a second.
BEFORE_COMMIT = ["tool-final", "worker-restoring", "worker-ready", "tool-commit"]
# Of its memory. "auto" is to make rounds, which it does not for little.
MIB, MIB_AUTO = 4, 28


class Case:
    def __init__(self, mode, point, fault, seed=0):
        self.mode, self.point, self.fault, self.seed = mode, point, fault, seed

    def __str__(self):
        return f"{self.mode} {self.point} {self.fault}"


class Result:
    def __init__(self, case):
        self.case, self.wrong, self.reached, self.where, self.thaw, self.tool, self.said = case, [], False, None, None, None, ""
        self.recovered = []

    def __str__(self):
        thaw = f" thawed after {self.thaw:.2f} s" if self.thaw is not None else ""
        wrong = "; ".join(self.wrong) if self.wrong else "ok"
        return f"{self.case}: {'' if self.reached else 'not reached, '}{self.where}{thaw}: {wrong}"


# From which point on a process is there, and the first at which it is there no more; the steps of one side go on while the other's wait.
LIFE = {"tool": (None, None), "injector": ("tool-rootfs", None), "dumper": (None, None), "rescuer": ("dumper-prepared", "tool-held"),
        "source-criu": ("dumper-prepared", None), "daemon": (None, None), "worker": ("worker-receiving", "tool-finish"),
        "target-criu": ("worker-receiving", "worker-running"), "guardian": ("worker-ready", "tool-finish")}


def is_there(victim, mode, point):
    """Of a worker is nothing left once it has done all: at tool-finish. A stop hands no memory out, so there is no guardian, and no push. Who makes rounds has an injector."""
    first, end = LIFE[victim]
    at = POINTS.index(point)
    if victim == "guardian" and mode == "stop" or victim == "worker" and mode == "stop" and point == "tool-push":
        return False
    if victim == "injector" and mode not in ("pre-copy", "hybrid", "auto"):
        return False
    return (first is None or at >= POINTS.index(first)) and (end is None or at < POINTS.index(end)) and not (end and point == "dumper-commit")


def every_byte(modes=MODES):
    for mode in modes:
        for name, (_, _, offsets) in BYTES.items():
            if mode == "stop" and name.startswith("page"):
                continue
            for offset in offsets:
                yield Case(mode, f"{name}@{offset}", "spoil:byte")


def every_case(points=POINTS, modes=MODES, pairs=True):
    for mode in modes:
        for point in points:
            for victim in VICTIMS:
                if is_there(victim, mode, point):
                    yield Case(mode, point, "kill:" + victim)
            for pair in PAIRS if pairs else ():
                if all(is_there(victim, mode, point) for victim in pair.split("+")):
                    yield Case(mode, point, "kill:" + pair)
            for how in LINK:
                yield Case(mode, point, "link:" + how)


# ---- processes ----

def processes():
    """pid -> (name, parent) of all that live."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as f:
                text = f.read()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if rest[0] not in "ZX":
            found[int(entry)] = (name, int(rest[1]))
    return found


def named(name):
    return [pid for pid, (comm, _) in processes().items() if comm == name]


def child_named(parent_name, name):
    seen = processes()
    return [pid for pid, (comm, parent) in seen.items() if comm == name and seen.get(parent, ("",))[0] == parent_name]


def child_of(parent, name):
    return [pid for pid, (comm, above) in processes().items() if comm == name and above == parent]


def pulses():
    """pid -> (beat, side) of each copy, alive or frozen; a spoilt one has beat -1."""
    found = {}
    for pid, (name, _) in processes().items():
        match = re.fullmatch(r"(pulse|spoilt)-([0-9a-f]{8})", name)
        if match:
            try:
                with open(f"/proc/{pid}/cgroup") as f:
                    side = "target" if "pulse-t" in f.read() else "source"
            except OSError:
                continue
            found[pid] = (int(match[2], 16) if match[1] == "pulse" else -1, side)
    return found


def beating(seconds=0.15):
    """The copies that go on: pid -> (beat, side)."""
    before = pulses()
    time.sleep(seconds)
    after = pulses()
    return {pid: after[pid] for pid in after if pid in before and after[pid][0] != before[pid][0]}


class Watch(threading.Thread):
    """Looks all the time which side goes on. One after the other is as it should be, back again where the target was lost; never to and fro."""

    def __init__(self):
        super().__init__(daemon=True)
        self.order, self.ended = [], threading.Event()
        self.start()

    def run(self):
        last = pulses()
        while not self.ended.wait(0.03):
            now = pulses()
            for pid, (beat, side) in sorted(now.items()):
                if pid in last and last[pid][0] != beat and self.order[-1:] != [side]:
                    self.order.append(side)
            last = now

    def end(self):
        self.ended.set()
        self.join()
        return self.order


# ---- the two sides ----

class Pair:
    def __init__(self, work, state_dir=None):
        self.work = str(work)
        self.source_root, self.target_root = f"{work}/source", f"{work}/target"
        self.bundle, self.bundles = f"{work}/bundle", f"{work}/bundles"
        self.state_dir, self.pause = state_dir or f"{work}/receive", f"{work}/pause"
        self.number, self.daemon, self.tool, self.link = 0, None, None, None
        self.port = free_port()
        os.makedirs(self.pause, mode=0o700)
        os.makedirs(self.state_dir, exist_ok=True)
        self.log = open(f"{work}/receive.log", "ab")
        self.make_bundle(self.bundle, "/pulse-s")
        self.make_bundle(f"{self.bundles}/moved", "/pulse-t")

    def make_bundle(self, path, cgroup_path):
        here = os.path.dirname(container.runtime())
        os.makedirs(f"{path}/rootfs/dev")
        for name in "proc", "sys", "tmp":
            os.makedirs(f"{path}/rootfs/{name}")
        shutil.copy(f"{here}/tests/e2e/pulse", f"{path}/rootfs/pulse")
        self.write_config(path, cgroup_path, MIB)

    def write_config(self, path, cgroup_path, mib):
        config = configs.default(["/pulse", str(mib)])
        config["linux"]["cgroupsPath"] = cgroup_path
        with open(f"{path}/config.json", "w") as f:
            json.dump(config, f)

    def environment(self):
        return {**os.environ, "RT_MIGRATE_PAUSE": self.pause}

    def rt(self, root, *words, **how):
        return proc.run([container.runtime(), "--root", root, *words], ok=None, **how)

    def start_daemon(self):
        assert not self.daemon
        self.daemon = subprocess.Popen(
            [container.runtime(), "--root", self.target_root, "receive", "--listen", f"127.0.0.1:{self.port}", "--bundles", self.bundles, "--state-dir",
             self.state_dir, "--timeout", "4"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, start_new_session=True, env=self.environment())
        line = self.daemon.stdout.readline()
        assert line.startswith(b"listening"), f"rt receive does not start: {line}"

    def stop_daemon(self, how=signal.SIGTERM):
        if not self.daemon:
            return
        self.daemon.send_signal(how)
        try:
            self.daemon.wait(15)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon.stdout.close()
            self.daemon = None
            raise AssertionError("rt receive does not end") from None
        self.daemon.stdout.close()
        self.daemon = None

    def start_tool(self, case, *flags):
        self.out = open(f"{self.work}/tool.log", "w+b")
        self.tool = subprocess.Popen(
            [container.runtime(), "--root", self.source_root, "migrate", "--mode", case.mode, "--timeout", "4", "--new-id", "moved", *flags, "pulse",
             f"http://127.0.0.1:{self.link.port}"], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, start_new_session=True, env=self.environment())

    def tool_ended(self, seconds):
        try:
            return self.tool.wait(seconds) is not None
        except subprocess.TimeoutExpired:
            return False

    def start_pulse(self, mode):
        self.write_config(self.bundle, "/pulse-s", MIB_AUTO if mode == "auto" else MIB)
        if not os.path.isdir(f"{self.bundles}/moved/rootfs"):
            shutil.copytree(f"{self.bundle}/rootfs", f"{self.bundles}/moved/rootfs")
        result = self.rt(self.source_root, "run", "--detach", "--bundle", self.bundle, "pulse")
        assert result.code == 0, result
        proc.eventually(lambda: any(beat > 20 for beat, _ in pulses().values()), what="the pulse to beat")

    # -- one run --

    def run(self, case, call=None):
        """`call`: what "call:" does."""
        result = Result(case)
        self.number += 1
        if not self.daemon:
            self.start_daemon()
        self.link = Link(self.port)
        self.start_pulse(case.mode)
        watch, flags, kind = Watch(), [], case.fault.split(":")[0]
        if kind == "spoil":
            name, offset = case.point.split("@")
            self.link.spoil(BYTES[name][0], int(offset), BYTES[name][1])
            if name.startswith("tree"):
                flags = ["--rootfs", "copy"]
                shutil.rmtree(f"{self.bundles}/moved/rootfs", ignore_errors=True)
        else:
            open(f"{self.pause}/{case.point}", "w").close()
        try:
            self.start_tool(case, *flags)
            if kind == "spoil":
                return self.end(case, result, kind)
            marker = self.wait_for_point(case.point)
            result.reached = marker is not None
            self.count = max([beat for beat, _ in pulses().values()], default=0)
            broken_at = self.break_it(case, result, marker, call)
            if result.reached and case.fault in ("link:cut", "link:reset") and case.point in BEFORE_COMMIT:
                self.measure_thaw(result, broken_at)
            return self.end(case, result, kind)
        except AssertionError as e:
            result.wrong.append(f"the test says: {str(e)[:300]}")
            return result
        finally:
            order = watch.end()
            if len(order) > 3 or order[:1] == ["target"]:
                result.wrong.append(f"both went on: {order}")
            self.clean(result)

    def end(self, case, result, kind):
        self.recover(case, result)
        if kind == "spoil":
            result.reached, self.count = self.link.spoilt, 0
        self.judge(case, result)
        return result

    def marker(self, point):
        for entry in os.listdir(self.pause):
            if entry.startswith(point + "."):
                return f"{self.pause}/{entry}"
        return None

    def wait_for_point(self, point, seconds=20):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := self.marker(point):
                return found
            if self.tool.poll() is not None:
                time.sleep(0.05)
                return self.marker(point)
            time.sleep(0.003)
        return None

    def victim(self, name):
        return {"tool": lambda: [self.tool.pid], "daemon": lambda: [self.daemon.pid], "dumper": lambda: named("rt-dumper"), "worker": lambda: named("rt-worker"),
                "injector": lambda: child_of(self.tool.pid, "rt-guard"), "rescuer": lambda: child_named("rt-dumper", "rt-guard"),
                "guardian": lambda: named("rt-guardian"), "source-criu": lambda: child_named("rt-dumper", "criu"),
                "target-criu": lambda: child_named("rt-worker", "criu")}[name]()

    def break_it(self, case, result, marker, call):
        kind, what = case.fault.split(":")
        if result.reached and kind == "kill":
            victims = [pid for name in what.split("+") for pid in self.victim(name)]
            result.reached = all(self.victim(name) for name in what.split("+"))
            # Two at once: none may notice that the other has ended.
            for how in [signal.SIGSTOP] * (len(victims) > 1) + [signal.SIGKILL]:
                for pid in victims if result.reached else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, how)
            for child, name in (self.tool, "tool"), (self.daemon, "daemon"):
                if name in what.split("+") and result.reached:
                    child.wait(10)
        elif result.reached and kind == "link":
            self.link.reset() if what == "reset" else self.link.hold()
        elif kind == "call":
            call()
        broken_at = time.monotonic()
        if kind == "link" and case.point == "tool-commit":
            time.sleep(0.75)  # what is cut in the very moment of the commit can't be known to be cut before it
        for path in marker, f"{self.pause}/{case.point}":
            if path and os.path.exists(path):
                os.unlink(path)
        if kind == "link" and what == "hold":
            time.sleep(1)
            self.link.through()
        return broken_at

    def measure_thaw(self, result, broken_at):
        """From the cut to the first beat on the source."""
        frozen = {pid: beat for pid, (beat, side) in pulses().items() if side == "source"}
        while time.monotonic() < broken_at + 15:
            now = pulses()
            if any(now.get(pid, (beat,))[0] != beat for pid, beat in frozen.items()):
                result.thaw = time.monotonic() - broken_at
                if result.thaw > 1:
                    result.wrong.append(f"the source thaws only after {result.thaw:.2f} s")
                return
            time.sleep(0.005)
        result.wrong.append("the source does not thaw")

    def recover(self, case, result):
        """As a person would: wait a little, mend what is broken, ask."""
        if not self.tool_ended(6 if self.daemon and self.daemon.poll() is None and self.link.mode == "through" else 1.5):
            result.tool = "waits"
        if self.daemon.poll() is not None:
            self.daemon.stdout.close()
            self.daemon = None
            self.start_daemon()
        if self.link.mode != "through":
            self.link.through()
        if not self.tool_ended(20):
            result.wrong.append("the tool does not end though all is mended")
            self.tool.kill()
        result.tool = self.tool.wait()
        self.out.seek(0)
        result.said = self.out.read().decode(errors="replace")
        if result.tool == 1 and len([line for line in result.said.splitlines() if line.startswith("rt: ")]) != 1:
            result.wrong.append(f"not one sentence: {result.said[-300:]!r}")
        for _ in range(20):
            # A link that came back: the journal says where to ask.
            answer = self.rt(self.source_root, "migrate", "--recover", timeout=90)
            result.recovered.append((answer.out + answer.err).strip())
            if answer.code == 0:
                return
            time.sleep(0.5)
        result.wrong.append(f"--recover fails: {answer.err.strip()[-300:]}")

    def judge(self, case, result):
        until = time.monotonic() + 12
        while True:
            live, all_of_it = beating(), pulses()
            if len(live) == 1 and len(all_of_it) == 1 and not self.leftovers(live) or time.monotonic() > until:
                break
            time.sleep(0.1)
        sides = sorted(side for _, side in live.values())
        result.where = "+".join(sides) or "nowhere"
        if len(live) != 1:
            result.wrong.append(f"{len(live)} live copies: {sides}, of {sorted(all_of_it.values())}")
        if any(beat < 0 for beat, _ in all_of_it.values()):
            result.wrong.append("its memory is spoilt")
        if any(0 <= beat < self.count for beat, _ in live.values()):
            result.wrong.append(f"it does not go on from where it was: {live} < {self.count}")
        if live:
            result.wrong += self.leftovers(live)
        if case.point.startswith("tree") and result.where == "source" and os.path.isdir(f"{self.bundles}/moved/rootfs"):
            result.wrong.append("half a root filesystem is left")

    def leftovers(self, live):
        side = next(iter(live.values()))[1]
        left = [f"process {name}" for name in ("rt-dumper", "rt-worker", "rt-guardian", "rt-guard", "criu") if named(name)]
        for name, root, dead in ("source", self.source_root, side == "target"), ("target", self.target_root, side == "source"):
            found = sorted(os.listdir(root)) if os.path.isdir(root) else []
            if dead and [e for e in found if not e.startswith(".")]:
                left.append(f"the {name}'s {found}")
            for e in found:
                left += [f"{name}: {e}/{f}" for f in ("migration.json", "migration.sock") if os.path.exists(f"{root}/{e}/{f}")]
        for path in "/run/rt-migrate", self.state_dir:
            for entry in os.listdir(path) if os.path.isdir(path) else []:
                if path == "/run/rt-migrate" or os.path.isdir(f"{path}/{entry}/images"):
                    left.append(f"{path}/{entry}: {sorted(os.listdir(f'{path}/{entry}'))}" if os.path.isdir(f"{path}/{entry}") else f"{path}/{entry}")
        for h, mounted in cgroups():
            name = "pulse-s" if side == "target" else "pulse-t"
            if os.path.isdir(f"{mounted}/{name}"):
                left.append(f"cgroup {mounted}/{name}")
        return left

    def clean(self, result):
        for entry in os.listdir(self.pause):
            os.unlink(f"{self.pause}/{entry}")
        if self.tool and self.tool.poll() is None:
            self.tool.kill()
            self.tool.wait()
        self.link.close()
        for name in ("rt-dumper", "rt-worker", "rt-guardian", "rt-guard", "criu") if result.wrong else ():
            for pid in named(name):
                os.kill(pid, signal.SIGKILL)
        if result.wrong:
            self.stop_hard()
        for root, id in (self.source_root, "pulse"), (self.target_root, "moved"):
            if os.path.isdir(f"{root}/{id}"):
                self.rt(root, "delete", "--force", id)
        if result.wrong:
            for pid in pulses():
                os.kill(pid, signal.SIGKILL)
            for path in self.state_dir, "/run/rt-migrate":
                shutil.rmtree(path, ignore_errors=True)
            os.makedirs(self.state_dir, exist_ok=True)
        self.out.close()

    def stop_hard(self):
        try:
            self.stop_daemon(signal.SIGKILL)
        except AssertionError:
            pass

    def close(self):
        self.stop_daemon()
        self.log.close()


def cgroups():
    with open("/proc/self/mounts") as f:
        for line in f:
            words = line.split()
            if words[2] in ("cgroup", "cgroup2"):
                yield words[2], words[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def chosen(cases, count, seed):
    """`count` of them, each as often as the others, in an order that the seed tells."""
    rng, cases, picked = random.Random(seed), list(cases), []
    while len(picked) < count and cases:
        rng.shuffle(cases)
        picked += cases[:count - len(picked)]
    return picked
