"""The lab itself: guests are what the other tests take them for."""


def test_a_guest_runs_systemd_on_cgroup2_alone(guest):
    assert guest.run("systemctl is-system-running --wait", ok=None).out == "running\n"
    kinds = {line.split()[2] for line in guest.run("cat /proc/mounts").out.splitlines() if "cgroup" in line.split()[2]}
    assert kinds == {"cgroup2"}
    controllers = set(guest.run("cat /sys/fs/cgroup/cgroup.controllers").out.split())
    assert {"cpuset", "cpu", "io", "memory", "pids"} <= controllers


def test_its_root_has_every_capability(guest):
    words = dict(line.split(":\t") for line in guest.run("cat /proc/self/status").out.splitlines())
    assert int(words["CapEff"], 16) >> 24 & 1, "CAP_SYS_RESOURCE is missing"


def test_its_kernel_tracks_written_memory_and_criu_likes_it(guest):
    assert "CONFIG_MEM_SOFT_DIRTY=y\n" in guest.run("cat /boot/config-$(uname -r)").out
    assert "Looks good" in guest.run("criu check --all 2>&1", ok=None).out


def test_commands_have_a_status_an_output_and_a_user(guest, tmp_path):
    result = guest.run("echo out; echo err >&2; exit 3", ok=None)
    assert (result.code, result.out, result.err) == (3, "out\n", "err\n")
    assert guest.run(["printf", "%s|", "a b", "$c"]).out == "a b|$c|"
    assert guest.run("id -un", user="lab").out == "lab\n"
    guest.put("some\ntext\n", "/tmp/lab/x")
    guest.get("/tmp/lab/x", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "some\ntext\n"


def test_it_has_the_project_as_it_is_here(guest):
    assert guest.run("/rt/build/rt --version").out.startswith("rt version ")


def test_it_reaches_the_machine_s_packages(guest):
    assert "Reading package lists" in guest.run("apt-get update 2>&1").out


def test_it_shuts_down_and_comes_back_with_what_it_wrote(lab, guest):
    guest.run("echo kept >/root/kept")
    guest.shut_down()
    guest.start()
    lab.up(guest)
    assert guest.run("cat /root/kept").out == "kept\n"
