"""Several clones of one snapshot at once: each with a network, a name, limits and memory of its own, and what they share."""

import glob
import json
import os
import re
import signal
import socket
import time

import pytest

from lib import cgroup, config as configs
from lib import inside as agents
from lib import host, needs, netns, proc
from test_snapshot_start import clones, snapshot, state, store  # noqa: F401


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def network(work):
    one = netns.Host(work + "/net")
    yield one
    one.remove_all()


def many(c, store, clones, count, *flags, id="n"):  # noqa: F811
    """Ids of so many clones; they are deleted after the test."""
    for i in range(1, count + 1):
        clones(c, f"{id}-{i}", "--version", ok=None)
    c.to_file("run", "--detach", "--from-snapshot", "s", "--store", store, "--count", count, *flags, id)
    return [f"{id}-{i}" for i in range(1, count + 1)]


def fetch(address, path):
    return proc.run(["sh", "-c", f"printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 {address} 8080"]).out


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def test_each_answers_on_its_own_address_and_old_connections_are_closed(container, store, clones, network):  # noqa: F811
    """The one connection of the original is neither stolen nor left hanging; the original's address stays the original's."""
    c = container(["httpd", "-f", "-p", "8080", "-h", "/run"])
    network.add_hooks(c)
    c.run_detached()
    original = network.address(c.id)
    with open(c.host_path("/run/page"), "w") as f:
        f.write("of the original\n")
    proc.eventually(lambda: "of the original" in fetch(original, "/page"), what="the original to answer")
    # Half a request: httpd has forked a process that waits for the rest.
    with socket.create_connection((original, 8080), 5) as waiting:
        waiting.sendall(b"GET ")
        proc.eventually(lambda: len(json.loads(c.rt("ps", "--format", "json", c.id).out)) == 2, what="the connection to be taken")
        snapshot(c, store, "--leave-running")
        ids = many(c, store, clones, 3)
        addresses = [network.address(id) for id in ids]
        assert len({original, *addresses}) == 4
        for id, address in zip(ids, addresses):
            body = fetch(address, "/rt-clone").split("\r\n\r\n")[1]
            assert json.loads(body)["id"] == id
            # The child that had the connection finds its end, and is gone or about to be.
            with open(f"/proc/{state(c, id)['pid']}/net/tcp") as f:
                assert not [line for line in f if line.split()[3] == "01" and ":1F90" in line.split()[1]], "an established connection"
        waiting.sendall(b"/page HTTP/1.0\r\n\r\n")
        assert b"200 OK" in waiting.recv(4096), "the original's connection is still its own"
    for id in ids:
        c.rt("delete", "--force", id)
        assert id not in network.list()
    c.delete("--force")


def test_names_are_numbered_like_ids(running, store, clones):  # noqa: F811
    c = running(["sleep", "1000"])
    snapshot(c, store)
    ids = many(c, store, clones, 3, "--hostname", "web", id="a-b")
    assert [c.rt("exec", id, "hostname").out.strip() for id in ids] == ["web-1", "web-2", "web-3"]


def test_each_has_limits_of_its_own(running, store, clones):  # noqa: F811
    """Those of the snapshot, those of a configuration that is given, and after that each can be changed alone."""
    needs.controller("memory")
    mib = 1 << 20
    c = running(["sleep", "1000"], changes={"linux": {"resources": {"memory": {"limit": 128 * mib}}}})
    snapshot(c, store)
    ids = many(c, store, clones, 3)
    c.config["linux"]["resources"]["memory"]["limit"] = 64 * mib
    with open(f"{c.dir}/smaller.json", "w") as f:
        json.dump(c.config, f)
    clones(c, "small", "--config", f"{c.dir}/smaller.json")
    c.rt("update", "--memory", str(96 * mib), ids[1])

    def limit(id):
        return cgroup.value(state(c, id)["pid"], "memory", "memory.limit_in_bytes", "memory.max")
    assert [limit(id) for id in (*ids, "small")] == [str(n * mib) for n in (128, 96, 128, 64)]


@pytest.mark.parametrize("flag", [None, "--on-demand"])
def test_memory_that_nobody_touches_is_not_in_a_clone_that_asks_for_it_on_demand(inside, store, clones, flag):  # noqa: F811
    c = inside()
    c.do("data = os.urandom(1 << 20) * 64; digest = hashlib.sha256(data).hexdigest(); open('/digest', 'w').write(digest)")
    snapshot(c, store)
    ids = many(c, store, clones, 3, *([flag] if flag else []))
    pids = [state(c, id)["pid"] for id in ids]

    def settled():
        before = [pss_kib(pid) for pid in pids]
        time.sleep(0.3)
        return before if before == [pss_kib(pid) for pid in pids] else None
    memory = proc.eventually(settled, what="the clones to be at rest")
    if flag:
        assert all(kib < 24 * 1024 for kib in memory), memory
        err = c.rt("checkpoint", "--image-path", f"{c.dir}/no", ids[0], ok=False).err
        assert "its memory has not all arrived yet" in err
    else:
        assert all(kib > 64 * 1024 for kib in memory), memory
    # It is there when it is wanted, and only in the one that does.
    assert agents.ask(pids[0], "hashlib.sha256(data).hexdigest() == digest") is True
    assert pss_kib(pids[0]) > 64 * 1024 and (not flag or pss_kib(pids[1]) < 24 * 1024)


def test_memory_that_may_be_merged(running, store, clones):  # noqa: F811
    """Whether and when the kernel does it is the administrator's to say (/sys/kernel/mm/ksm/run); which processes take part is ours."""
    needs.kernel(6, 7)
    needs.skip_unless(os.path.exists("/sys/kernel/mm/ksm/run"), "this kernel has no KSM")
    c = running(["sleep", "1000"])
    snapshot(c, store)
    clones(c, "merged", "--merge")
    clones(c, "plain")

    def mergeable(id):
        with open(f"/proc/{state(c, id)['pid']}/smaps") as f:
            return any(re.match("VmFlags:.* mg", line) for line in f)
    assert mergeable("merged") and not mergeable("plain")


def test_a_root_that_was_mounted_with_other_ids(container, store, clones):  # noqa: F811
    """Below the clone's overlay is what is on the disk, with the container's ids; what it writes is its own."""
    needs.kernel(6, 3)
    c = container(["sleep", "1000"])
    configs.use_user_namespace(c.config)
    configs.set_capabilities(c.config, configs.ENGINE_CAPABILITIES)
    c.config["mounts"].insert(0, {"destination": "/", "type": "bind", "source": "rootfs", "options": ["rbind", "idmap"]})
    c.run_detached()
    snapshot(c, store, "--leave-running")
    for flags in ([], ["--bundle", c.dir]):
        clones(c, "one", *flags)
        c.rt("exec", "one", "sh", "-c", "touch /new && chown 5:6 /new && echo changed >>/bin/added")
        assert c.rt("exec", "one", "stat", "-c", "%u:%g", "/", "/bin/busybox", "/new").out.split() == ["0:0", "0:0", "5:6"]
        assert not os.path.exists(c.host_path("/new")) and os.stat(c.host_path("/bin/busybox")).st_uid == 0
        with open("/proc/self/mountinfo") as f:
            assert not [line for line in f if line.split()[4].endswith("/@clones/one/lower")]
        c.rt("delete", "--force", "one")
    assert c.exec("stat", "-c", "%u", "/bin/busybox").out == "0\n"


def test_clones_of_a_container_in_a_user_namespace(inside, store, clones):  # noqa: F811
    """Where its tasks may not have a userfaultfd, they get all their memory at once, and the reason where it was asked for otherwise."""
    with open("/proc/sys/vm/unprivileged_userfaultfd") as f:
        lazily = f.read().strip() == "1"
    c = inside(started=False)
    configs.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    c.do("data = os.urandom(1 << 20) * 16; digest = hashlib.sha256(data).hexdigest()")
    snapshot(c, store)
    for id in many(c, store, clones, 2):
        assert agents.ask(state(c, id)['pid'], "hashlib.sha256(data).hexdigest() == digest") is True
    result = clones(c, "asks", "--on-demand", ok=None)
    assert result.code == 0 if lazily else "vm.unprivileged_userfaultfd is 0" in result.err and result.err.count("\n") == 1


def test_ids_that_are_mapped_otherwise_are_refused(inside, store, clones, work):  # noqa: F811
    """CRIU would map them as they were, and the host's root might be inside, whatever the configuration says."""
    c = inside(started=False)
    configs.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    snapshot(c, store)
    mapped = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    plain = [one for one in c.config["linux"]["namespaces"] if one["type"] != "user"]
    for changes, said in (({"uidMappings": mapped, "gidMappings": mapped}, "'linux.uidMappings[0]' maps 65536 ids from 0 to 200000 of the host, but"),
                          ({"uidMappings": None, "gidMappings": None, "namespaces": plain}, "'linux.namespaces' wants no user namespace, but")):
        with open(f"{work}/other.json", "w") as f:
            json.dump(configs.merge(c.config, {"linux": changes}), f)
        result = clones(c, "other", "--config", f"{work}/other.json", ok=False)
        assert said in result.err and result.err.count("\n") == 1, result
        assert c.rt("state", "other", ok=False)


def test_a_restore_that_fails_says_why(running, store, clones):  # noqa: F811
    """Whatever else was started for the clone is killed along, and no signal of that hides the reason."""
    c = running(["sleep", "1000"])
    snapshot(c, store)
    clones(c, "first")
    [inventory] = glob.glob(c.root + "/@snapshots/*/images/core-1.img")
    with open(inventory, "r+b") as f:
        f.truncate(20)
    err = clones(c, "one", ok=False).err
    assert err.startswith("rt: cannot start 'one' from snapshot 's': ") and "core-1" in err and err.count("\n") == 1, err


def test_who_hands_memory_out_on_demand_takes_the_clone_along(running, store, clones):  # noqa: F811
    """Without it the clone would read zeros."""
    c = running(["sh", "-c", "while :; do sleep 0.05; done"])
    snapshot(c, store)
    before = host.processes()
    clones(c, "one", "--on-demand")
    [worker] = [pid for pid, name in host.processes() - before if name == "(rt)"]
    os.kill(worker, signal.SIGKILL)
    proc.eventually(lambda: state(c, "one")["status"] == "stopped", what="the clone to be killed")


@pytest.mark.parametrize("words, said", [
    (["--on-demand"], "'--on-demand' needs '--from-snapshot'"), (["--merge"], "'--merge' needs '--from-snapshot'"),
    (["--count", "2"], "'--count' needs '--from-snapshot'")])
def test_words_for_clones_are_for_clones(running, words, said):
    err = running().rt("run", *words, "x", ok=False).err
    assert said in err and err.count("\n") == 1
