"""Images of a processor with features that the one here lacks are refused in a sentence that names them, before anything is there: by a
restore, an import, a start from a snapshot, and the target of a migration. What a checkpoint says of its processor is changed in real ones."""

import hashlib
import os
import subprocess

import pytest

from lib import frozen, host, message, needs, proc

# proto/manifest.proto, proto/snapshot.proto
MANIFEST_MAKER, MANIFEST_CPU = 5, 6
MAKER_ARCHITECTURE = 6
CPU_FLAGS = 3
SNAPSHOT_MANIFEST = 6
DIGEST = 32


def flags():
    with open("/proc/cpuinfo") as f:
        return next(line.split(":")[1].split() for line in f if line.split("\t")[0].strip() in ("flags", "Features", "isa"))


# Of another age, and of another maker: no processor has all of them.
LACKING = [flag for flag in ("xop", "fma4", "avx512er", "avx512_4fmaps") if flag not in flags()]
REASON = "lacks what that of the {} has" + "{}: " + ", ".join(LACKING)
OF_A_CHECKPOINT = "the processor here " + REASON.format("checkpoint", ", and its programs may use")


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


def with_more_features(manifest):
    more = b"".join(message.pack([[CPU_FLAGS, message.BYTES, flag.encode()]]) for flag in LACKING)
    return message.changed(manifest, [MANIFEST_CPU], lambda cpu: cpu + more)


def rewrite(path, change):
    with open(path, "rb") as f:
        before = f.read()
    with open(path, "wb") as f:
        f.write(change(before))
    return before


def left(c):
    return {"processes": host.processes(), "cgroups": host.cgroups(), "mounts": host.mounts(), "state": set(os.listdir(c.root))}


def refused(c, words, *command):
    """One sentence, and nothing of the container is there: it comes before anything is started."""
    before = left(c)
    result = c.rt(*command, ok=False)
    assert words in result.err and len(result.err.splitlines()) == 1, result
    proc.eventually(lambda: left(c) == before, timeout=2, what="its helpers to have ended")


def test_a_checkpoint_says_what_its_processor_has(running):
    c = running()
    told = c.rt("checkpoint", "--check", c.id).out.splitlines()[-1]
    assert told.startswith("note: a restore wants a processor that has what this one (")
    images = frozen.checkpoint(c, "--leave-running")
    with open(images + "/manifest", "rb") as f:
        cpu = next(value for number, _, value in message.parse(f.read()) if number == MANIFEST_CPU)
    recorded = [value.decode() for number, _, value in message.parse(cpu) if number == CPU_FLAGS]
    assert recorded == flags()
    named = told.rsplit(": ", 1)[1].split(", ")
    assert named and set(named) <= set(recorded)
    inspected = c.rt("checkpoint", "inspect", "--format", "json", images).out
    assert f'"processorFeatures": "{", ".join(named)}"' in inspected


def test_a_restore(running):
    c = running()
    images = frozen.checkpoint(c)
    before = rewrite(images + "/manifest", with_more_features)  # it has digests of the images, not of itself
    restore = ["restore", "--detach", "--bundle", c.dir, "--image-path", images]
    refused(c, f"cannot restore '{c.id}': {OF_A_CHECKPOINT}", *restore, c.id)
    # Who knows better may say so.
    frozen.restore(c, images, "--cpu-cap", "none")
    assert c.status == "running"
    c.delete("--force")
    with open(images + "/manifest", "wb") as f:
        f.write(before)
    refused(c, "invalid value 'nonsense' for --cpu-cap", *restore, "--cpu-cap", "nonsense", c.id)
    frozen.restore(c, images)
    assert c.status == "running"


def test_a_restore_on_another_architecture(running):
    c = running()
    images = frozen.checkpoint(c)
    rewrite(images + "/manifest", lambda m: message.changed(m, [MANIFEST_MAKER, MAKER_ARCHITECTURE], lambda _: b"vax"))
    refused(c, f"the checkpoint was made on vax, this host is {os.uname().machine}",
            "restore", "--detach", "--bundle", c.dir, "--image-path", images, c.id)


def test_an_import(running, work):
    """The archive is unpacked and packed again by tar."""
    c = running()
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    os.makedirs(f"{work}/unpacked")
    os.makedirs(f"{work}/tmp")
    subprocess.run(["tar", "-C", f"{work}/unpacked", "-xf", f"{work}/c.tar"], check=True)
    rewrite(f"{work}/unpacked/checkpoint/manifest", with_more_features)
    subprocess.run(["tar", "-C", f"{work}/unpacked", "-cf", f"{work}/again.tar", "."], check=True)
    refused(c, OF_A_CHECKPOINT, "restore", "--detach", "--bundle", c.dir, "--import", f"{work}/again.tar", c.id)
    c.rt("restore", "--detach", "--bundle", c.dir, "--import", f"{work}/c.tar", c.id, stdout=None)
    assert c.status == "running"


def test_a_start_from_a_snapshot(running, work):
    """The index has a digest of itself before it."""
    c = running()
    c.rt("snapshot", "create", "--store", f"{work}/store", c.id, "warm")

    def change(index):
        assert hashlib.sha256(index[DIGEST:]).digest() == index[:DIGEST]
        body = message.changed(index[DIGEST:], [SNAPSHOT_MANIFEST], with_more_features)
        return hashlib.sha256(body).digest() + body

    before = rewrite(f"{work}/store/index/warm", change)
    start = ["run", "--detach", "--from-snapshot", "warm", "--store", f"{work}/store", "clone"]
    refused(c, "the processor here " + REASON.format("snapshot", ""), *start)
    with open(f"{work}/store/index/warm", "wb") as f:
        f.write(before)
    try:
        c.to_file(*start)
        assert '"running"' in c.rt("state", "clone").out
    finally:
        c.rt("delete", "--force", "clone", ok=None)
        c.rt("snapshot", "rm", "--store", f"{work}/store", "warm", ok=None)
        c.rt("snapshot", "gc", "--store", f"{work}/store", ok=None)


def test_an_offer_of_a_migration(hosts, work):
    """The source has another /proc/cpuinfo: its container is never frozen."""
    with open("/proc/cpuinfo") as f:
        lines = f.read().split("\n\n")[0].splitlines()
    with open(f"{work}/cpuinfo", "w") as f:
        f.writelines(f"{line} {' '.join(LACKING)}\n" if line.split("\t")[0].strip() in ("flags", "Features", "isa") else f"{line}\n" for line in lines)
    hosts.b.receive()
    c = hosts.a.running(["sleep", "1000"])
    hosts.b.put_bundle(c)
    c.enter = [*c.enter, "unshare", "--mount", "sh", "-c", f"mount --bind {work}/cpuinfo /proc/cpuinfo && exec \"$@\"", "sh"]
    assert "the processor here lacks what the source's has: " + ", ".join(LACKING) in hosts.refuses(c)
    c.enter = hosts.a.enter
    assert hosts.migrate(c).done
