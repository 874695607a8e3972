"""`rt` as an ordinary user: no rights on the host but the user's own and a range of further ids."""

import json
import os

import pytest

from lib import cgroup, config, needs, ns, proc

UID = 54321  # nobody else's
RANGE = 200000  # ids that newuidmap gives the user, 65536 of them


class User:
    """A user of the machine, who exists in a mount namespace of the test alone."""

    def __init__(self, namespace, home, before=()):
        self.namespace = namespace
        self.home = home
        self.before = list(before)

    @property
    def enter(self):
        return [*self.namespace.enter, *self.before, "setpriv", f"--reuid={UID}", f"--regid={UID}",
                "--clear-groups",
                "env", f"XDG_RUNTIME_DIR={self.home}", f"HOME={self.home}"]


def make_user(namespace, work, before=()):
    home = work + "/home"
    os.mkdir(home)
    os.chown(home, UID, UID)
    # For us to bind over: the files of the machine stay as they are.
    for name, line in (("passwd", f"rtuser:x:{UID}:{UID}::{home}:/bin/sh\n"),
                       ("group", f"rtuser:x:{UID}:\n"),
                       ("subuid", f"rtuser:{RANGE}:65536\n"),
                       ("subgid", f"rtuser:{RANGE}:65536\n")):
        path = "/etc/" + name
        text = open(path).read() if os.path.exists(path) else ""
        with open(f"{work}/{name}", "w") as f:
            f.write(text + line)
        if not os.path.exists(path):
            needs.skip_unless(False, f"no {path} on this machine (package uidmap)")
        namespace.run(["mount", "--bind", f"{work}/{name}", path])
    return User(namespace, home, before)


@pytest.fixture
def user(outlives_containers, work):
    needs.program("newuidmap", "newgidmap", "setpriv")
    return make_user(outlives_containers.enter_context(ns.Namespaces("mount")), work)


def own(path, uid=UID):
    proc.run(["chown", "-R", "-h", f"{uid}:{uid}", path])


@pytest.fixture
def open_sockets():
    """What the test itself makes, a console socket say, is for the user as well."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def rootless(user, container):
    """A container of the user's, configured by `spec --rootless`: its root is the user, and there
    are no other ids."""
    def make(args, changes=None, user=user, **how):
        c = container(args, root=user.home + "/containers", enter=user.enter, **how)
        own(c.dir)
        c.rt("spec", "--rootless", "--bundle", c.dir)
        with open(c.dir + "/config.json") as f:
            c.config = json.load(f)
        c.config["process"].update(terminal=False, args=args)
        c.config = config.merge(c.config, changes or {})
        return c
    return make


def map_range(c):
    """Root is the user, and 1 to 65536 are the range that newuidmap gives."""
    both = [{"containerID": 0, "hostID": UID, "size": 1},
            {"containerID": 1, "hostID": RANGE, "size": 65536}]
    c.config["linux"]["uidMappings"] = both
    c.config["linux"]["gidMappings"] = both


# Only ourselves

def test_the_user_is_root_inside(rootless):
    c = rootless(["sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups"])
    words = c.run().out.split()
    assert words == ["0", "0", "0", str(UID), "1", "deny"]
    assert not c.exists()


def test_files_made_inside_are_the_users(rootless):
    c = rootless(["touch", "/tmp/made"], {"root": {"readonly": False}})
    c.run()
    assert os.stat(c.host_path("/tmp/made")).st_uid == UID


def test_a_container_of_a_user_lives_as_any_other(rootless):
    c = rootless(["sh", "-c", "echo up; exec sleep 1000"])
    c.create()
    assert c.status == "created"
    c.start()
    c.wait_output("up")
    state = c.state()
    assert state["status"] == "running" and state["owner"] == str(UID)
    assert os.stat(f"/proc/{state['pid']}").st_uid in (UID, 0)
    assert c.exec("id", "-u").out == "0\n"
    assert c.exec("hostname").out == c.config["hostname"] + "\n"
    assert c.rt("list", "-q").out == c.id + "\n"
    c.kill("KILL")
    c.wait_stopped()
    c.delete()


def test_exec_enters_every_namespace(rootless):
    c = rootless(["sleep", "1000"])
    c.run_detached()
    for kind in ("user", "mnt", "pid", "ipc", "uts"):
        assert c.exec("readlink",
                      f"/proc/self/ns/{kind}").out.strip() == os.readlink(f"/proc/{c.pid}/ns/{kind}")
    assert c.exec("readlink", "/proc/1/exe").out.strip().endswith("busybox")


def test_the_state_is_kept_where_the_user_may_write(rootless, user):
    c = rootless(["sleep", "1000"])
    c.root = user.home + "/rt"  # the default below $XDG_RUNTIME_DIR
    c.write_config()
    without_root = [w for w in c.argv("run", "--detach", "--bundle", c.dir, c.id)
                    if w not in ("--root", c.root)]
    with open(c.stdout, "wb") as f:
        proc.run(without_root, stdout=f.fileno())
    assert os.path.isdir(f"{user.home}/rt/{c.id}")
    assert os.stat(f"{user.home}/rt/{c.id}").st_uid == UID
    assert c.status == "running"


def test_devices_come_from_the_host_by_bind_mounts(rootless):
    c = rootless(["sh", "-c", "echo lost > /dev/null; head -c 4 /dev/zero | wc -c; ls /dev"])
    out = c.run().out.split()
    assert out[0] == "4"
    assert {"null", "zero", "full", "random", "urandom", "tty", "fd", "ptmx", "pts",
            "shm"} <= set(out[1:])


def test_a_terminal_of_an_ordinary_user(rootless, open_sockets):
    c = rootless(["sh", "-c", "tty; read x; echo got $x"], {"process": {"terminal": True}})
    c.create()
    c.start()
    c.terminal.type("hello\n")
    c.terminal.expect("got hello")


def test_masked_and_read_only_paths_hold(rootless):
    c = rootless(["sh", "-c",
                  "cat /proc/timer_list | wc -c; echo x > /proc/sys/kernel/domainname; touch /x"])
    result = c.run(ok=False)
    assert result.out.split()[0] == "0"
    assert result.err.count("Read-only file system") == 2


def test_limits_without_rights_are_ignored_but_not_when_asked_for(rootless):
    assert rootless(["true"]).run().code == 0
    c = rootless(["true"], {"linux": {"resources": {"pids": {"limit": 10}}}})
    result = c.run(ok=False)
    assert "pids" in result.err or "cgroup" in result.err
    assert not c.exists()


def test_with_no_cgroups_at_all(rootless):
    c = rootless(["sleep", "1000"], globals=["--cgroup-manager", "disabled"])
    c.run_detached()
    assert cgroup.of_process(c.pid) == cgroup.of_process("self")


@pytest.mark.parametrize("changes, field", [
    ({"process": {"user": {"uid": 1000, "gid": 0}}}, "process.user.uid"),
    ({"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [5]}}},
     "process.user.additionalGids"),
    ({"linux": {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}}, "user ids"),
    ({"linux": {"gidMappings": [{"containerID": 0, "hostID": RANGE + 70000, "size": 5}]}},
     "group ids"),
    ({"linux": {"sysctl": {"kernel.pid_max": "5"}}}, "linux.sysctl"),
])
def test_what_a_user_may_not_have_is_an_error_that_leaves_nothing(rootless, changes, field):
    c = rootless(["true"], changes)
    result = c.run(ok=False)
    assert field in result.err and result.code == 1
    assert not os.path.exists(f"{c.root}/{c.id}")


def test_another_users_container_cannot_be_touched(rootless, container):
    other = container(["sleep", "1000"])
    other.run_detached()
    c = rootless(["true"])
    for words in (["state"], ["kill"], ["delete", "--force"], ["exec", "true"], ["pause"]):
        result = proc.run([*c.enter, *other.argv()[len(other.enter):], words[0],
                           *words[1:-1 if words[-1] == "true" else None],
                           other.id, *(["true"] if words[-1] == "true" else [])], ok=False)
        assert "permission denied" in result.err
    assert other.status == "running"


# With a range of ids

@pytest.fixture
def ranged(rootless):
    def make(*args, **how):
        c = rootless(*args, **how)
        map_range(c)
        return c
    return make


def test_a_range_makes_other_users_inside(ranged):
    c = ranged(["sh", "-c", "id -u; id -G; touch /tmp/made"],
               {"root": {"readonly": False},
                "process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 500]}}})
    os.chmod(c.host_path("/tmp"), 0o1777)
    assert c.run().out.split() == ["1000", "1000", "5", "500"]
    assert os.stat(c.host_path("/tmp/made")).st_uid == RANGE + 999


def test_root_inside_has_power_over_the_range(ranged):
    c = ranged(["sh", "-c",
                "touch /x && chown 33:33 /x && stat -c %u:%g /x && su www-data -s /bin/sh -c 'id -u'"],
               {"root": {"readonly": False}})
    both = ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
    config.set_capabilities(c.config, both)
    assert c.run().out.split() == ["33:33", "33"]
    assert os.stat(c.host_path("/x")).st_uid == RANGE + 32


def test_exec_as_another_user_of_the_range(ranged):
    c = ranged(["sleep", "1000"])
    c.run_detached()
    assert c.exec("id", "-u", flags=["--user", "1000:1000"]).out == "1000\n"


def test_the_devpts_of_a_range_has_its_group(ranged, open_sockets):
    c = ranged(["sh", "-c", "stat -c %g /dev/pts/0"],
               {"process": {"terminal": True}})
    for mount in c.config["mounts"]:
        if mount["destination"] == "/dev/pts":
            mount["options"].append("gid=5")
    c.create()
    c.start()
    c.terminal.expect("5")


# Cgroups that were delegated

def test_a_delegated_cgroup_is_used(outlives_containers, work, rootless):
    """As systemd hands one over: the user owns a v2 cgroup, and is in it."""
    needs.program("newuidmap", "setpriv")
    namespace = outlives_containers.enter_context(ns.cgroup2_only())
    top = os.path.join(cgroup.unified(), "delegated")
    for path in (top, top + "/session"):
        os.mkdir(path)
        outlives_containers.callback(os.rmdir, path)
    for path in (top, top + "/session"):
        os.chown(path, UID, UID)
        for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(f"{path}/{name}", UID, UID)
    os.mkdir(work + "/second")
    inside = "/sys/fs/cgroup" + top[len(cgroup.unified()):] + "/session/cgroup.procs"
    user = make_user(namespace, work + "/second",
                     ["sh", "-c", f'echo $$ > {inside}; exec "$@"', "-"])
    c = rootless(["sh", "-c", "while :; do echo x; sleep 0.01; done"], user=user,
                 changes={"linux": {"cgroupsPath": os.path.join(relative_top(top), "container")}})
    c.run_detached()
    assert cgroup.of_process(c.pid)[""].endswith("delegated/container")
    c.wait_output("x")
    c.pause()
    assert c.status == "paused"
    c.resume()
    c.delete("--force")
    assert sorted(d for d in os.listdir(top) if os.path.isdir(f"{top}/{d}")) == ["session"]


def relative_top(top):
    """The cgroup's path as the hierarchy has it."""
    return top[len(cgroup.unified()):]
