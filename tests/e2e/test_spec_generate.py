"""`rt spec generate`: what it writes runs as the options say."""

import json
import os

import pytest

from lib import cgroup, needs


@pytest.fixture
def generated(rt, container):
    """A container of a generated configuration: generated("--args", "date", ...)."""
    def make(*words, **how):
        c = container()
        rt("spec", "generate", "--output", c.dir + "/config.json", *words)
        with open(c.dir + "/config.json") as f:
            c.config = json.load(f)
        return c
    return make


def args(*words):
    return [x for word in words for x in ("--args", word)]


def test_a_program_runs_under_the_default_profile(generated):
    script = "id -u; hostname; pwd; echo $A; ulimit -n; touch /x && echo written; grep Seccomp: /proc/self/status"
    out = generated(*args("sh", "-c", script), "--hostname", "web", "--process-cwd", "/tmp", "--env", "A=b",
                    "--process-uid", "0", "--process-rlimits-add", "RLIMIT_NOFILE:512:256").run().out
    assert out.split() == ["0", "web", "/tmp", "b", "256", "written", "Seccomp:", "2"]


def test_the_default_profile_refuses_what_no_capability_guards(generated):
    """A new user namespace is for everybody, but for the filter."""
    words = args("sh", "-c", "unshare -U id -u 2>&1; exit 0")
    assert "not permitted" in generated(*words).run().out
    assert generated(*words, "--linux-seccomp-profile", "unconfined").run().out == "65534\n"


def test_a_capability_allows_and_a_rule_kills(generated):
    words = [*args("sh", "-c", "hostname other && hostname"), "--process-cap-add", "CAP_SYS_ADMIN"]
    assert generated(*words).run().out == "other\n"
    result = generated(*words, "--linux-seccomp-kill", "sethostname").run(ok=False)
    assert result.code == 128 + 31 or "Bad system call" in result.err, result


def test_limits_reach_the_cgroup(generated):
    needs.controller("memory")
    needs.controller("pids")
    c = generated(*args("sleep", "1000"), "--linux-pids-limit", "33", "--linux-mem-limit", "64m")
    c.run_detached()
    assert cgroup.value(c.pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert cgroup.value(c.pid, "pids", "pids.max", "pids.max") == "33"


def test_mounts_and_masks(generated, work):
    os.makedirs(work + "/data")
    with open(work + "/data/file", "w") as f:
        f.write("from outside\n")
    script = "cat /data/file; touch /data/x 2>/dev/null || echo ro; touch /scratch/y && echo rw; wc -c </proc/version"
    out = generated(*args("sh", "-c", script), "--mount-bind", f"{work}/data:/data:ro", "--tmpfs", "/scratch:size=1m",
                    "--linux-masked-paths", "/proc/version").run().out
    assert out.split() == ["from", "outside", "ro", "rw", "0"]


def test_a_user_namespace(generated):
    c = generated(*args("cat", "/proc/self/uid_map"), "--linux-uidmappings", "100000:0:65536",
                  "--linux-gidmappings", "100000:0:65536")
    for root, dirs, files in os.walk(c.dir + "/rootfs"):
        for name in dirs + files:
            os.lchown(os.path.join(root, name), 100000, 100000)
    os.chown(c.dir + "/rootfs", 100000, 100000)
    os.chmod(c.dir, 0o755)
    assert c.run().out.split() == ["0", "100000", "65536"]


def test_a_configuration_is_changed_in_place_and_keeps_what_is_not_ours(rt, work):
    path = work + "/config.json"
    rt("spec", "generate", "--output", path)
    with open(path) as f:
        config = json.load(f)
    config["x-ours"] = {"n": 18446744073709551615}
    with open(path, "w") as f:
        json.dump(config, f)
    rt("spec", "generate", "--template", path, "--output", path, "--hostname", "changed")
    config["hostname"] = "changed"
    with open(path) as f:
        assert json.load(f) == config
    piped = rt("spec", "generate", "--template", "-", "--hostname", "again", stdin=json.dumps(config)).out
    assert json.loads(piped)["hostname"] == "again"


def test_what_would_not_be_valid_is_not_written(rt, work):
    path = work + "/config.json"
    rt("spec", "generate", "--output", path)
    with open(path) as f:
        before = f.read()
    result = rt("spec", "generate", "--template", path, "--output", path, "--linux-namespace-remove", "uts", ok=False)
    assert "'hostname' needs a uts namespace" in result.err and len(result.err.splitlines()) == 1
    with open(path) as f:
        assert f.read() == before
    assert os.listdir(work) == ["config.json"]


@pytest.mark.parametrize("words, named", [
    (["--template", "/nonexistent"], "/nonexistent"),
    (["--template", "/etc/passwd"], "/etc/passwd"),
    (["--env-file", "/nonexistent"], "/nonexistent"),
    (["--output", "/nonexistent/config.json"], "/nonexistent"),
    (["--linux-mem-limit", "much"], "--linux-mem-limit"),
    (["--process-cwd", "relative"], "process.cwd"),
    (["--linux-rootfs-propagation", "sideways"], "linux.rootfsPropagation"),
    (["operand"], "operands"),
])
def test_a_wrong_word_is_named_in_one_sentence(rt, words, named):
    result = rt("spec", "generate", *words, ok=False)
    assert result.code == 1 and result.out == "" and named in result.err
    assert len(result.err.splitlines()) == 1


def test_variables_from_a_file(rt, work):
    with open(work + "/env", "w") as f:
        f.write("# comment\nA=1\nB=two words\n")
    config = json.loads(rt("spec", "generate", "--env", "A=0", "--env-file", work + "/env", "--env", "B=3").out)
    assert config["process"]["env"][-2:] == ["A=1", "B=3"]


def test_the_seccomp_section_alone(rt):
    profile = json.loads(rt("spec", "generate", "--linux-seccomp-only").out)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO" and "read" in profile["syscalls"][0]["names"]
