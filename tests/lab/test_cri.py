"""`rt` as a RuntimeClass of Kubernetes: pods that name it, run by containerd's CRI plugin as a kubelet would have them run, on systemd's cgroups.

Debian has no crictl, so machines/cri.py speaks for the kubelet. Images are made in the guest.
"""

import time

import pytest

from machines import image as images
from machines.container import RT
from machines.cri import Cri, CriError

HOME = "/run/lab-containerd"
SOCKET = HOME + "/containerd.sock"
IMAGE, PAUSE = "lab.local/busybox:1", "lab.local/pause:1"
RUNTIMES = "/run/containerd/runc/k8s.io"  # where the shim has the runtime keep its state
CRI = 'plugins."io.containerd.grpc.v1.cri"'
CONF = f"""version = 2
root = "/var/lib/lab-containerd"
state = "{HOME}/state"
[grpc]
  address = "{SOCKET}"
[{CRI}]
  sandbox_image = "{PAUSE}"
[{CRI}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/lab"
[{CRI}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{CRI}.containerd.runtimes.rt]
  runtime_type = "io.containerd.runc.v2"
[{CRI}.containerd.runtimes.rt.options]
  BinaryName = "{RT}"
  SystemdCgroup = true
"""
NETWORK = """{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}"""
COUNT = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo turn $i; sleep 0.5; done"]
POD, NODE = 0, 2  # whose network
RUNNING, EXITED = 1, 2


class Kubelet:
    def __init__(self, guest):
        self.guest = guest
        self.cri = Cri(guest, SOCKET)
        self.pods = []
        guest.put(CONF, "/etc/containerd/lab.toml")
        guest.put(NETWORK, "/etc/cni/lab/lab.conflist")
        guest.run(f"systemctl is-active -q lab-containerd || {{ systemctl reset-failed lab-containerd 2>/dev/null; mkdir -p {HOME}; systemd-run -q --unit=lab-containerd "
                  "--property=Delegate=yes --property=KillMode=process --setenv=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
                  f"containerd --config /etc/containerd/lab.toml; }}; for i in $(seq 200); do [ -S {SOCKET} ] && exit 0; sleep 0.3; done; exit 1", timeout=90)
        self.wait(self.ready, "containerd to be ready")
        for name, command in ((IMAGE, ["sh"]), (PAUSE, ["sleep", "1000000"])):
            if 1 not in self.image(name):
                guest.run(f"d=$(mktemp -d /var/tmp/lab-image.XXXXXX); {images.PROJECT}/tests/lab/bundle $d/b busybox {{}} && {images.PROJECT}/tests/lab/oci-image $d/i.tar {name} "
                          f"$d/b/rootfs {' '.join(command)} && ctr -a {SOCKET} -n k8s.io images import $d/i.tar; s=$?; rm -rf $d; exit $s", timeout=200)
                self.wait(lambda: 1 in self.image(name), f"containerd to know {name}")  # pylint: disable=cell-var-from-loop

    def wait(self, condition, what, timeout=90):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}; {self.guest.run('journalctl -u lab-containerd --no-pager | tail -n 20').out}"
            time.sleep(0.5)

    def ready(self):
        try:
            return self.cri.call("Version").text(2) == "containerd"
        except CriError:
            return False

    def image(self, name):
        return self.cri.call("ImageStatus", {1: {1: name}}, service="ImageService")

    def pod(self, name, network=POD):
        """(its id, its configuration)"""
        config = {1: {1: name, 2: name + "-uid", 3: "lab"}, 3: f"/var/log/pods/{name}", 8: {1: "kubepods-lab.slice", 2: {1: {1: network}}}}
        if network == POD:  # in the node's network it has the node's name, and none of its own
            config[2] = name
        self.guest.run(f"mkdir -p /var/log/pods/{name}")
        id = self.cri.call("RunPodSandbox", {1: config, 2: "rt"}).text(1)
        self.pods.append(id)
        return id, config

    def container(self, pod, name, command, resources=None):
        """Created, not started."""
        config = {1: {1: name}, 2: {1: IMAGE}, 3: command, 6: {1: "COLOUR", 2: "green"}, 11: f"{name}.log", 15: {1: resources or {}}}
        return self.cri.call("CreateContainer", {1: pod[0], 2: config, 3: pod[1]}).text(1)

    def start(self, id):
        self.cri.call("StartContainer", {1: id})

    def status(self, id):
        return self.cri.call("ContainerStatus", {1: id}).message(1)

    def exec(self, id, *command):
        """(exit code, stdout, stderr)"""
        answer = self.cri.call("ExecSync", {1: id, 2: list(command), 3: 60})
        return answer.number(3), answer.text(1), answer.text(2)

    def log(self, pod, name):
        return self.guest.run(f"cat /var/log/pods/{pod}/{name}.log", ok=None).out

    def turns(self, pod, name):
        return self.log(pod, name).count(" stdout F turn ")

    def known_to_rt(self):
        return set(self.guest.run([RT, "--root", RUNTIMES, "list", "-q"]).out.split())

    def remove(self, pod):
        self.cri.call("StopPodSandbox", {1: pod})
        self.cri.call("RemovePodSandbox", {1: pod})
        self.pods.remove(pod)

    def close(self):
        for pod in list(self.pods):
            self.remove(pod)


@pytest.fixture
def kubelet(guest):
    made = Kubelet(guest)
    yield made
    made.close()


@pytest.mark.limit(600)
def test_a_pod_of_runtime_class_rt_lives_as_pods_do(guest, kubelet):
    pod = kubelet.pod("life")
    shown = kubelet.cri.call("PodSandboxStatus", {1: pod[0]}).message(1)
    address = shown.message(5).text(1)
    assert shown.text(9) == "rt" and shown.number(3) == 0 and address.startswith("10.88.0."), shown.fields
    id = kubelet.container(pod, "main", COUNT, {1: 100000, 2: 50000, 4: 64 << 20})
    kubelet.start(id)
    assert kubelet.known_to_rt() == {pod[0], id}
    assert kubelet.status(id).number(3) == RUNNING
    scope = f"cri-containerd-{id}.scope"
    assert set(guest.run(f"systemctl show {scope} -p MemoryMax -p CPUQuotaPerSecUSec -p Slice").out.splitlines()) == {
        "Slice=kubepods-lab.slice", "CPUQuotaPerSecUSec=500ms", f"MemoryMax={64 << 20}"}
    kubelet.wait(lambda: kubelet.turns("life", "main") > 2, "lines in its log")

    assert kubelet.exec(id, "sh", "-c", "echo $COLOUR; hostname; echo oh >&2; exit 3") == (3, "green\nlife\n", "oh\n")
    assert f"inet {address}/24" in kubelet.exec(id, "ip", "address", "show", "eth0")[1], "it is not in its pod's network"
    kubelet.cri.call("UpdateContainerResources", {1: id, 2: {4: 32 << 20}})
    assert guest.run(f"cat /sys/fs/cgroup/kubepods.slice/kubepods-lab.slice/{scope}/memory.max").out == f"{32 << 20}\n"

    kubelet.cri.call("StopContainer", {1: id, 2: 1})
    status = kubelet.status(id)
    assert status.number(3) == EXITED and status.number(7) in (128 + 15, 128 + 9), status.fields  # its shell may or may not end at SIGTERM
    kubelet.cri.call("RemoveContainer", {1: id})
    assert kubelet.known_to_rt() == {pod[0]}
    kubelet.remove(pod[0])
    assert kubelet.known_to_rt() == set()
    guest.run(f"find /sys/fs/cgroup -name '*{id}*' -o -name '*{pod[0]}*' | grep .", ok=False)


@pytest.mark.limit(600)
def test_a_pod_in_the_network_of_its_node(guest, kubelet):
    pod = kubelet.pod("node", network=NODE)
    id = kubelet.container(pod, "main", ["sh", "-c", "echo one line; sleep 1000"])
    kubelet.start(id)
    assert "10.0.2.15" in kubelet.exec(id, "ip", "address")[1]
    kubelet.wait(lambda: kubelet.log("node", "main").endswith(" stdout F one line\n"), "its line in the log")
    kubelet.remove(pod[0])  # with its container in it
    assert kubelet.known_to_rt() == set()


def test_what_can_not_start_is_told_to_the_kubelet(kubelet):
    pod = kubelet.pod("wrong")
    id = kubelet.container(pod, "main", ["no-such-program"])
    with pytest.raises(CriError, match="no-such-program"):
        kubelet.start(id)
    assert kubelet.status(id).number(3) == EXITED


@pytest.mark.limit(600)
def test_a_container_of_a_pod_is_checkpointed_and_goes_on(guest, kubelet):
    pod = kubelet.pod("frozen")
    id = kubelet.container(pod, "main", COUNT)
    kubelet.start(id)
    kubelet.wait(lambda: kubelet.turns("frozen", "main") > 2, "lines in its log")
    # The method of the CRI came with containerd 2; before that it is said to be missing, and ctr can.
    try:
        kubelet.cri.call("CheckpointContainer", {1: id, 2: "/var/tmp/lab-checkpoint.tar"})
        images_there = "tar -tf /var/tmp/lab-checkpoint.tar | grep inventory.img"
    except CriError as e:
        assert ": 12: " in str(e), e
        guest.run(f"ctr -a {SOCKET} -n k8s.io tasks checkpoint --image-path /var/tmp/lab-checkpoint {id}")
        images_there = "ls /var/tmp/lab-checkpoint/inventory.img"
    guest.run(images_there + "; rm -rf /var/tmp/lab-checkpoint*")
    stood = kubelet.turns("frozen", "main")
    kubelet.wait(lambda: kubelet.turns("frozen", "main") > stood + 2, "it to go on")
    assert kubelet.status(id).number(3) == RUNNING
