"""`checkpoint --export` and `restore --import`: one file that makes the container again elsewhere, what it
changed in its root filesystem included."""

import json
import os
import subprocess
import tarfile

import pytest

from lib import frozen, needs, proc

COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu", "tar", "zstd")


@pytest.fixture
def on_overlay(container, outlives_containers):
    """A container whose root filesystem is an overlay; c.fresh() is the same with nothing changed."""
    def make(*args, **how):
        c = container(*args, **how)
        lower = c.rootfs + "-lower"
        os.rename(c.rootfs, lower)
        os.makedirs(c.rootfs)
        mounted = []

        def fresh():
            while mounted:
                proc.run(["umount", "-l", mounted.pop()])
            upper = proc.run(["mktemp", "-d", "-p", c.dir]).out.strip()
            for part in ("upper", "work"):
                os.makedirs(f"{upper}/{part}")
            proc.run(["mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work", "overlay",
                      c.rootfs])
            mounted.append(c.rootfs)
        outlives_containers.callback(lambda: [proc.run(["umount", "-l", m]) for m in mounted])
        c.fresh = fresh
        fresh()
        return c
    return make


def imported(c, archive, *flags, id=None, **how):
    words = ["restore", "--detach", "--bundle", c.dir, "--pid-file", c.pid_file, "--import", archive, *flags, id or c.id]
    with open(c.stdout, "ab") as f:
        return c.rt(*words, stdout=f.fileno(), **how)


@pytest.mark.parametrize("name, magic", [("c.tar", b"config.dump"), ("c.tar.gz", b"\x1f\x8b"), ("c.tgz", b"\x1f\x8b"),
                                         ("c.tar.zst", b"\x28\xb5\x2f\xfd")])
def test_out_and_in_again(running, work, name, magic):
    c = running(COUNTER)
    c.wait_output("3\n")
    c.rt("checkpoint", "--export", f"{work}/{name}", c.id)
    assert not c.exists()
    with open(f"{work}/{name}", "rb") as f:
        assert f.read(len(magic)) == magic
    assert os.stat(f"{work}/{name}").st_mode & 0o777 == 0o600
    last = int(c.output.split()[-1])
    imported(c, f"{work}/{name}")
    c.wait_output(f"\n{last + 3}\n")


def test_nothing_of_it_stays_in_the_temporary_directory(running, work):
    os.makedirs(f"{work}/tmp")
    env = {**os.environ, "TMPDIR": f"{work}/tmp"}
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id, env=env)
    assert os.listdir(f"{work}/tmp") == []
    imported(c, f"{work}/c.tar", env=env)
    c.rt("checkpoint", "inspect", f"{work}/c.tar", env=env)
    assert os.listdir(f"{work}/tmp") == []


def test_the_layout(running, work):
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    with tarfile.open(f"{work}/c.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["config.dump", "spec.dump"] and names[-1] == "checkpoint/manifest"
        assert {"stats-dump", "dump.log", "checkpoint/inventory.img", "checkpoint/pages-1.img"} <= set(names)
        assert json.load(tar.extractfile("spec.dump"))["hostname"] == "container"
        assert json.load(tar.extractfile("config.dump"))["id"] == c.id


def test_changes_of_the_root_filesystem_come_along(on_overlay, work):
    c = on_overlay(["sh", "-c", "echo new > /added; mkdir -p /d/e; echo x > /d/e/f; ln -s f /d/e/link; echo more >> /etc/hosts;"
                                "rm /etc/hostname; rm -r /home; mkdir /home; chmod 700 /d; chown 5:6 /added;"
                                "echo up; while :; do sleep 1; done"])
    c.config["process"]["capabilities"] = {k: ["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"]
                                           for k in ("bounding", "effective", "permitted")}
    c.run_detached()
    c.wait_output("up")
    c.rt("checkpoint", "--export", f"{work}/c.tar.zst", c.id)
    c.fresh()
    assert not os.path.exists(c.host_path("/added"))
    imported(c, f"{work}/c.tar.zst")
    assert c.exec("cat", "/added", "/d/e/link").out == "new\nx\n"
    assert c.exec("tail", "-n", "1", "/etc/hosts").out == "more\n"
    assert c.exec("ls", "/home").out == ""
    assert not os.path.exists(c.host_path("/etc/hostname"))
    added, d = os.stat(c.host_path("/added")), os.stat(c.host_path("/d"))
    assert (added.st_uid, added.st_gid, d.st_mode & 0o777) == (5, 6, 0o700)


def test_leave_running_and_a_copy_under_another_id(running, work, container):
    c = running()
    c.rt("checkpoint", "--leave-running", "--export", f"{work}/c.tar", c.id)
    assert c.status == "running"
    c.config["linux"]["cgroupsPath"] += "-copy"
    c.write_config()
    with frozen.twin(c, c.id + "-copy") as copy:
        imported(c, f"{work}/c.tar", id=copy.id)
        assert copy.state()["status"] == "running"


def test_import_and_image_path_exclude_each_other(running, work):
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    result = imported(c, f"{work}/c.tar", "--image-path", f"{work}/images", ok=False)
    assert "can't be given together" in result.err and not c.exists()


def test_an_archive_replaces_the_older_one_only_when_it_is_whole(running, work):
    c = running()
    with open(f"{work}/c.tar", "w") as f:
        f.write("older")
    result = c.rt("checkpoint", "--export", f"{work}/c.tar", "--network-lock", "nonsense", c.id, ok=False)
    assert "--network-lock" in result.err
    with open(f"{work}/c.tar") as f:
        assert f.read() == "older"
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    assert tarfile.is_tarfile(f"{work}/c.tar") and os.listdir(work).count("c.tar") == 1


def test_a_plain_tar_made_by_hand_is_as_good(running, work):
    """The archive is no magic: unpacked and packed again by tar it is still one."""
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar.zst", c.id)
    os.makedirs(f"{work}/unpacked")
    subprocess.run(["tar", "-C", f"{work}/unpacked", "--zstd", "-xf", f"{work}/c.tar.zst"], check=True)
    subprocess.run(["tar", "-C", f"{work}/unpacked", "-cf", f"{work}/again.tar", "."], check=True)
    imported(c, f"{work}/again.tar")
    assert c.status == "running"


@pytest.mark.parametrize("flags, words", [([], "; --work-path keeps its log, 'restore.log')"), (["--work-path"], "; see 'restore.log')")],
                         ids=["no work path", "a work path"])
def test_a_failed_import_explains_itself(running, work, flags, words):
    """The log would be among the temporary files: it is not named as if it were there."""
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    os.rename(c.host_path("/bin/busybox"), c.host_path("/bin/other"))
    result = imported(c, f"{work}/c.tar", *flags, *[f"{work}/log" for _ in flags], ok=False)
    assert "the root filesystem is not that of the checkpoint" in result.err and words in result.err
    assert os.path.exists(f"{work}/log/restore.log") == bool(flags)


def test_a_failed_export_explains_itself(inside, work):
    c = inside()
    c.do("odd = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)")
    assert "; --work-path keeps its log, 'dump.log')" in c.rt("checkpoint", "--export", f"{work}/c.tar", c.id, ok=False).err
    assert c.status == "running" and c.do("1 + 1") == 2
    assert "see 'dump.log'" in c.rt("checkpoint", "--export", f"{work}/c.tar", "--work-path", f"{work}/log", c.id, ok=False).err
    assert os.path.exists(f"{work}/log/dump.log")
