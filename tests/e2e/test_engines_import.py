"""`rt spec import`: containers of real engines run the same without them.

A container tells what it finds itself in: environment, user, limits, capabilities, mounts, devices, cgroup. Then its files are
exported, what inspect says of it is imported, and the same program run by `rt` alone must tell the same."""

import json
import os
import re

import pytest

from lib import container as containers
from lib import engine, needs
from lib.engine import HOME, IMAGE

PROBE = r"""
echo '[identity]'; pwd; umask; echo "$0 $*"; hostname; cat /proc/sys/kernel/domainname; cat /proc/self/oom_score_adj
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range
echo '[environment]'; env | sort
echo '[status]'; grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp:)' /proc/self/status
echo '[groups]'; id -G | tr ' ' '\n' | sort -u
echo '[limits]'; cat /proc/self/limits
echo '[maps]'; cat /proc/self/uid_map /proc/self/gid_map
echo '[mounts]'; cat /proc/self/mountinfo
echo '[devices]'; ls -lR /dev | grep '^[bc]' | sed 's/[A-Z][a-z][a-z] .* / /'
echo '[cgroup]'
cd /sys/fs/cgroup && for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes \
    memory/memory.swappiness memory/memory.oom_control cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus pids/pids.max \
    devices/devices.list blkio/blkio.throttle.read_bps_device blkio/blkio.throttle.write_iops_device io.max memory.max memory.swap.max cpu.max cpu.weight pids.max; do
    [ -f $f ] && sort $f | sed "s|^|$f |" | grep -v under_oom | grep -v oom_kill' '
done
echo '[can]'
unshare -U true 2>/dev/null && echo unshare; mkdir /tmp/made 2>/dev/null && rmdir /tmp/made && echo mkdir
cat /data/file /data/sub/file 2>/dev/null; touch /data/x 2>/dev/null && rm /data/x && echo write
[ $$ = 1 ] && echo 'processes of its own'
ls -d /dev/shm /dev/mqueue; true
"""
# What engines put beside the container's own, and what differs where the root is no overlay.
ENGINES_OWN = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/run/.containerenv", "/run/secrets", "/dev/console")


def sections(text):
    found, name = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            name = line
            found[name] = []
        elif name:
            found[name].append(line)
    found["[mounts]"] = sorted(filter(None, map(mount, found.get("[mounts]", []))))
    found["[cgroup]"].sort()
    found["[devices]"].sort()
    return found


def mount(line):
    """Where, what, and with which options; None for what is the engine's."""
    before, after = line.split(" - ")
    where, options = before.split()[4:6]
    kind, _, more = after.split(maxsplit=2)
    if where in ENGINES_OWN:
        return None
    if where == "/":
        return f"/ {'ro' if 'ro' in options.split(',') else 'rw'}"
    # The size of the machine's memory is in devtmpfs's; the state of a hierarchy in a cgroup's.
    # The engine left a directory where it mounted, and a tmpfs takes the mode of that.
    size = [o for o in more.split(",") if re.match(r"(size=|mode=1|r[ow]$)", o)] if kind == "tmpfs" else []
    return f"{where} {kind} {','.join(sorted(options.split(',')))} {','.join(sorted(size))}"


class Importer:
    """An engine, and `rt` beside it on the same host."""

    def __init__(self, kind, templates):
        self.engine_host = engine.EngineHost()
        self.engine = (engine.Podman if kind == "podman" else engine.Docker)(self.engine_host, templates)
        self.kind = kind
        self.count = 0
        self.run = self.engine_host.run

    def engine_run(self, *words, command=None, detach=False):
        self.count += 1
        name = f"c{self.count}"
        pull = ["--pull=never"] if self.kind == "podman" else []
        network = [] if any("--network" in w for w in words) else ["--network=none"]
        result = self.engine("run", *(["--detach"] if detach else []), "--name", name, *pull, *network, *words,
                             *(command or [IMAGE, "sh", "-c", PROBE, "probe", "one two"]))
        return name, result.out

    def export(self, name):
        """The bundle of a container: its files."""
        bundle = f"{HOME}/import/{name}"
        self.run(["mkdir", "-p", bundle + "/rootfs"])
        self.engine("export", "--output", bundle + "/export.tar", name)
        self.run(["tar", "-x", "-C", bundle + "/rootfs", "-f", bundle + "/export.tar"])
        return bundle

    def rt(self, *words, **how):
        return self.run([containers.runtime(), "--root", f"{HOME}/rt", *words], **how)

    def import_bundle(self, name, *words, inspect=()):
        bundle = self.export(name)
        text = self.engine("inspect", name, *inspect).out
        result = self.rt("spec", "import", "--output", bundle + "/config.json", *words, "-", stdin=text)
        assert self.rt("spec", "validate", bundle).code == 0
        return bundle, result

    def config(self, bundle):
        return json.loads(self.engine_host.read(bundle + "/config.json"))

    def rt_run(self, bundle, **how):
        return self.rt("run", "--bundle", bundle, "t" + bundle.rsplit("/", 1)[1], **how)


@pytest.fixture(scope="module", params=["podman", "docker"])
def importer_host(request, templates):
    if request.param == "podman":
        needs.program("podman", "conmon")
    else:
        needs.program("/usr/sbin/dockerd", "/usr/bin/docker")
    importer = Importer(request.param, templates)
    importer.engine_host.write("/run/profile.json", json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}))
    importer.engine_host.write("/run/data/file", "file of the host\n")
    importer.engine_host.write("/run/more/file", "more\n")
    importer.run(["sh", "-c", "mkdir /run/shared && mount --bind /run/data /run/shared && mount --make-shared /run/shared"])
    yield importer
    importer.engine_host.close()


@pytest.fixture
def importer(importer_host):
    yield importer_host
    importer_host.engine.remove_everything()
    importer_host.run(["rm", "-rf", f"{HOME}/import"])


OPTIONS = {
    "plain": [],
    "environment and directory": ["--env", "GREETING=hello = there", "--env", "PATH=/bin:/sbin:/usr/bin", "--env", "EMPTY=",
                                  "--workdir", "/tmp"],
    "user by name": ["--user", "user"],
    "user and group by name": ["--user", "user:tty"],
    "user by number": ["--user", "1000"],
    "user nobody knows, groups": ["--user", "4321:1234", "--group-add", "500", "--group-add", "tty"],
    "host name and domain": ["--hostname", "named"],
    "capabilities added": ["--cap-add", "SYS_ADMIN", "--cap-add", "CAP_NET_ADMIN"],
    "capabilities dropped": ["--cap-drop", "CHOWN", "--cap-drop", "NET_RAW"],
    "all dropped, some added": ["--cap-drop", "all", "--cap-add", "SETUID", "--cap-add", "net_bind_service"],
    "capabilities of a user": ["--user", "1000", "--cap-add", "NET_ADMIN"],
    "limits of the process": ["--ulimit", "nofile=123:456", "--ulimit", "core=-1:-1", "--ulimit", "nproc=200:300"],
    "memory": ["--memory", "64m", "--memory-swap", "128m", "--memory-reservation", "32m"],
    "memory without limit of swap": ["--memory", "64m", "--memory-swap", "-1"],
    "processor": ["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"],
    "quota": ["--cpu-period", "50000", "--cpu-quota", "20000"],
    "block devices": ["--device-read-bps", "BLOCK:2mb", "--device-write-iops", "BLOCK:300"],
    "processes and killing": ["--pids-limit", "50", "--oom-score-adj", "100"],
    "read-only with tmpfs": ["--read-only", "--tmpfs", "/scratch:size=1m,mode=1777", "--tmpfs", "/data"],
    "tmpfs as a mount": ["--mount", "type=tmpfs,target=/scratch,tmpfs-size=2m"],
    "mounts in mounts": ["--volume", "/run/more:/data/sub:ro", "--volume", "/run/data:/data"],
    "read-only mount": ["--volume", "/run/data:/data:ro"],
    "volume": ["--volume", "vol:/data"],
    "propagation": ["--volume", "/run/shared:/data:rslave"],
    "device": ["--device", "/dev/fuse:/dev/other:r"],
    "device rule": ["--device-cgroup-rule", "c 10:* rwm"],
    "seccomp profile": ["--security-opt", "seccomp=/run/profile.json"],
    "no seccomp": ["--security-opt", "seccomp=unconfined"],
    "no new privileges": ["--security-opt", "no-new-privileges"],
    "network of the host": ["--network", "host"],
    "namespaces of the host": ["--pid", "host", "--uts", "host", "--ipc", "host"],
    "kernel parameters": ["--sysctl", "net.ipv4.ip_unprivileged_port_start=80"],
    "shared memory": ["--shm-size", "8m"],
    "privileged": ["--privileged"],
}


def block_device():
    """One of the machine's disks; limits are those of the test's own cgroups."""
    found = [f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if not name.startswith(("loop", "ram", "zram"))]
    found = [path for path in found if os.path.exists(path)]
    needs.skip_unless(found, "no disk to limit on this machine")
    return found[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_imported_container_finds_what_it_found_under_its_engine(importer, name):
    words = [word.replace("BLOCK", block_device()) if "BLOCK" in word else word for word in OPTIONS[name]]
    if name == "block devices":
        needs.skip_unless(needs.has_controller("blkio") or needs.has_controller("io"), "no cgroup controller for block devices here")
    if name == "privileged" and importer.kind == "docker":
        needs.capability("CAP_SYS_RESOURCE")
    if "--memory" in words:
        needs.controller("memory")
    container, output = importer.engine_run(*words)
    bundle, _ = importer.import_bundle(container)
    result = importer.rt_run(bundle)
    there, here = sections(output), sections(result.out)
    if name == "block devices":
        assert any("2097152" in line for line in there["[cgroup]"]), "the engine set no limit"
    for section, lines in there.items():
        assert here[section] == lines, section


def test_a_host_name_with_a_domain(importer):
    if importer.kind == "podman":
        pytest.skip("podman has no option for it")
    container, output = importer.engine_run("--hostname", "named", "--domainname", "dom.example")
    bundle, _ = importer.import_bundle(container)
    assert sections(importer.rt_run(bundle).out)["[identity]"] == sections(output)["[identity]"]


def test_an_entry_point_with_arguments(importer):
    container, output = importer.engine_run("--entrypoint", "echo", command=["-n", IMAGE, "a  b", "c"][1:])
    bundle, _ = importer.import_bundle(container)
    assert importer.config(bundle)["process"]["args"] == ["echo", "a  b", "c"]
    assert importer.rt_run(bundle).out == output == "a  b c\n"


def test_an_init_of_the_engine_stays_behind_and_is_told(importer):
    if importer.kind == "podman":
        pytest.skip("Debian's podman has no init program")
    container, _ = importer.engine_run("--init", command=[IMAGE, "sh", "-c", "echo $$"])
    bundle, result = importer.import_bundle(container)
    assert "'HostConfig.Init'" in result.err and "ignoring" in result.err
    assert importer.rt_run(bundle).out == "1\n"


def test_a_terminal_and_labels(importer):
    container, _ = importer.engine_run("--tty", "--interactive", "--label", "a.b=c", "--detach", command=[IMAGE, "sh"])
    bundle, _ = importer.import_bundle(container)
    config = importer.config(bundle)
    assert config["process"]["terminal"] is True
    assert config["annotations"]["a.b"] == "c"
    with importer.engine_host.on_terminal([containers.runtime(), "--root", f"{HOME}/rt", "run", "--bundle", bundle, "tty"]) as session:
        session.terminal.type("tty; stty size; exit 4\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 4
    assert not any(key.startswith("io.") for key in config["annotations"])


def test_the_namespaces_of_another_container_are_joined(importer):
    share = ["--ipc=shareable"] if importer.kind == "docker" else []
    first, _ = importer.engine_run("--sysctl", "net.ipv4.ip_unprivileged_port_start=77", *share, detach=True,
                                   command=[IMAGE, "sleep", "1000"])
    second, output = importer.engine_run("--network", f"container:{first}", "--pid", f"container:{first}", "--ipc",
                                         f"container:{first}")
    bundle = importer.export(second)
    alone = importer.engine("inspect", second).out
    both = importer.engine("inspect", second, first).out
    words = ["spec", "import", "--output", bundle + "/config.json", "-"]
    result = importer.rt(*words, stdin=alone, ok=False)
    assert "shares the namespace of container" in result.err and "inspect both" in result.err
    importer.rt(*words, stdin=both)
    run = importer.rt("run", "--bundle", bundle, "joiner")
    assert sections(run.out)["[identity]"] == sections(output)["[identity]"]
    assert "77" in sections(run.out)["[identity]"]
    # Another of the two by name; a stopped one has no namespaces to join.
    importer.rt(*words[:-1], "--container", first, "-", stdin=both)
    assert importer.config(bundle)["process"]["args"] == ["sleep", "1000"]
    importer.engine("rm", "--force", first) if importer.kind == "docker" else importer.engine("kill", first)


def test_in_a_user_namespace(importer):
    container, output = importer.engine_run("--user", "user", "--env", "A=b")
    bundle = importer.export(container)
    importer.run(["chown", "-hR", "300000:300000", bundle + "/rootfs"])
    importer.rt("spec", "import", "--output", bundle + "/config.json", "--idroot", "300000", "--idlen", "5000", "-",
                stdin=importer.engine("inspect", container).out)
    there, here = sections(output), sections(importer.rt_run(bundle).out)
    assert [line.split() for line in here["[maps]"]] == [["0", "300000", "5000"]] * 2
    for section in ("[environment]", "[groups]", "[status]"):
        assert here[section] == there[section]


def test_podmans_own_user_namespace(importer):
    if importer.kind != "podman":
        pytest.skip("Docker's daemon decides it, and does not show it")
    container, output = importer.engine_run("--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536")
    bundle, _ = importer.import_bundle(container)
    importer.run(["chown", "-hR", "200000:200000", bundle + "/rootfs"])
    there, here = sections(output), sections(importer.rt_run(bundle).out)
    for section in ("[environment]", "[groups]", "[status]", "[maps]", "[limits]"):
        assert here[section] == there[section]


def test_hooks_run(importer):
    container, _ = importer.engine_run(command=[IMAGE, "true"])
    bundle, _ = importer.import_bundle(container, "--hook", "createRuntime:/bin/sh:-c:cat >/run/engine/import/created",
                                       "--hook", "poststop:touch:/run/engine/import/stopped")
    importer.rt_run(bundle)
    state = json.loads(importer.engine_host.read("/run/engine/import/created"))
    assert state["id"].startswith("t") and state["pid"] > 0
    assert "stopped" in importer.engine_host.listing("/run/engine/import")


def test_the_engines_files_on_request(importer):
    container, _ = importer.engine_run("--hostname", "named", "--detach", command=[IMAGE, "sleep", "1000"])
    bundle, _ = importer.import_bundle(container, "--engine-files")
    config = importer.config(bundle)
    assert "/etc/hosts" in [m["destination"] for m in config["mounts"]]


def test_users_come_from_the_containers_files_not_the_hosts(importer):
    """A name that both know, with other numbers."""
    script = "sed -i 's/^user:.*/user:x:4444:4445::\\/home:\\/bin\\/sh/' /etc/passwd; echo 'club:x:4446:user' >>/etc/group; id user"
    importer.engine_run(command=[IMAGE, "sh", "-c", script])
    image = f"localhost/other:{importer.kind}"
    importer.engine("commit", f"c{importer.count}", image)
    container, output = importer.engine_run("--user", "user", command=[image, "sh", "-c", "id -u; id -g; id -G | tr ' ' '\\n' | sort"])
    bundle, _ = importer.import_bundle(container)
    assert output.split()[:2] == ["4444", "4445"]
    assert importer.rt_run(bundle).out == output
    # Without them nobody guesses.
    text = importer.engine("inspect", container).out
    result = importer.rt("spec", "import", "-", stdin=text, ok=False)
    assert "'Config.User'" in result.err and "--rootfs" in result.err


def test_docker_is_asked_over_its_socket(importer):
    if importer.kind != "docker":
        pytest.skip("Docker's own")
    first, _ = importer.engine_run(detach=True, command=[IMAGE, "sleep", "1000"])
    second, _ = importer.engine_run("--network", f"container:{first}", "--env", "A=b", detach=True, command=[IMAGE, "sleep", "1000"])
    environment = ["env", f"DOCKER_HOST={importer.engine.socket}"]
    runtime = [containers.runtime(), "spec", "import", "--docker"]
    config = json.loads(importer.run([*environment, *runtime, second]).out)
    assert "A=b" in config["process"]["env"]
    assert any(n["type"] == "network" and n["path"].startswith("/proc/") for n in config["linux"]["namespaces"])
    result = importer.run([*environment, *runtime, "nobody"], ok=False)
    assert "No such container: nobody" in result.err and len(result.err.splitlines()) == 1
    result = importer.run([*environment, *runtime, f"{first}/../{second}"], ok=False)
    assert "the daemon refused" in result.err and len(result.err.splitlines()) == 1
    result = importer.run(["env", "DOCKER_HOST=unix:///nonexistent", *runtime, second], ok=False)
    assert "unix:///nonexistent" in result.err and len(result.err.splitlines()) == 1
