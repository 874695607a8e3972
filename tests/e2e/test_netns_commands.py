"""rt-netns by hand: its commands, what it says of wrong words, and what is left where it is killed."""

import json
import os

import pytest

from lib import frozen, needs, netns, ns, proc
from lib.netns_places import SUBNET6, host, hosts, into, place  # noqa: F401 (fixtures are used by their names)


def test_the_list_for_people(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--publish", "8080:80", "--ip", "172.19.0.9")
    header, line = host("ls").out.splitlines()
    assert header.split() == ["ID", "PID", "ADDRESS", "MAC", "BRIDGE", "PORTS", "STATUS"]
    assert line.split() == ["web", str(a.pid), "172.19.0.9/16", "02:72:ac:13:00:09", "rt0", "8080:80/tcp", "up"]
    assert host("ls", "-q").out == "web\n"


def test_the_list_says_what_is_gone(host, outlives_containers):
    with ns.Namespaces("net") as one:
        host("create", "web", "--pid", one.pid)
    assert host.list()["web"]["status"] == "gone"
    assert "its network namespace is gone" in host.refuses("release", "web")
    host("rm", "web")
    host.nothing_left()


def test_removing_what_is_not_there_is_said_once(host):
    assert host.refuses("rm", "web") == "container 'web' has no network of ours"
    host("rm", "--force", "web")
    host.nothing_left()


def test_save_and_load_make_the_same_network_again(host, place, work):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, *SUBNET6, "--nat", "--publish", "8080:80", "--static-route", "10.0.0.0/8=172.19.0.2", "--mtu", "1400")
    saved = host("save", "web").out
    before = netns.devices(a.pid)["eth0"]
    assert "address" in host.refuses("load", "clone", "--pid", b.pid, stdin=saved) and "is taken by 'web'" in host.refuses(
        "load", "clone", "--pid", b.pid, stdin=saved)
    host("rm", "web")
    host("load", "clone", "--pid", b.pid, stdin=saved)
    assert netns.devices(b.pid)["eth0"] == before
    assert host("save", "clone").out == saved


def test_on_another_host_its_own_address_is_the_gateway(host, hosts, place):
    a, b = hosts
    for number, one in enumerate(hosts):
        proc.run([*one.enter, "ip", "address", "add", f"172.19.0.{number + 1}/16", "dev", "rt0"])
    first, second = place(), place()
    # Processes of elsewhere, as far as the two hosts go: only the namespace counts.
    a("create", "web", "--pid", first.pid)
    saved = a("save", "web").out
    assert json.loads(saved)["addresses"][0]["gateway"] == "172.19.0.1"
    assert "bridge 'rt0' has no address 172.19.0.9" in b.refuses("load", "web", "--pid", second.pid, "--gateway", "172.19.0.9", stdin=saved)
    b("load", "web", "--pid", second.pid, stdin=saved)
    assert b.address("web") == a.address("web") and b.save("web")["addresses"][0]["gateway"] == "172.19.0.2"
    assert "default via 172.19.0.2" in proc.run([*into(second.pid), "ip", "route"]).out


def test_options_of_load_count_more(host, place):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, "--nat", "--publish", "8080:80")
    saved = host("save", "web").out
    host("load", "copy", "--pid", b.pid, "--ip", "172.19.0.88/16", "--mac", "02:00:00:00:00:88", "--nat=false", "--bridge", "rt0",
         stdin=saved.replace("8080:80", "8081:80"))
    assert host.save("copy") == {**json.loads(saved), "addresses": [{"address": "172.19.0.88/16", "gateway": "172.19.0.1"}],
                                 "mac": "02:00:00:00:00:88", "nat": False, "ports": ["8081:80/tcp"]}


@pytest.mark.parametrize("words, sentence", [
    (["--subnet", "172.19.0.0"], "'172.19.0.0' is no IPv4 prefix, ADDRESS/LENGTH"),
    (["--subnet", "172.19.0.0/33"], "prefix '172.19.0.0/33': its length is not between 0 and 32"),
    (["--subnet", "fd00::/64"], "'fd00::' is no IPv4 address"),
    (["--subnet", "10.0.0.1/32"], "10.0.0.1/32 has no room for the host's own address"),
    (["--subnet", "none"], "the container would get no address"),
    (["--ip", "10.0.0.1"], "address 10.0.0.1 is not in 172.19.0.0/16"),
    (["--ip", "172.19.0.0"], "address 172.19.0.0 is that of the network 172.19.0.0/16 itself"),
    (["--ip", "172.19.255.255"], "address 172.19.255.255 is the broadcast address of 172.19.0.0/16"),
    (["--ip", "172.19.0.1"], "address 172.19.0.1 is the gateway's"),
    (["--ip6", "fd00::1"], "address fd00::1 has no subnet"),
    (["--mac", "01:00:00:00:00:01"], "is a group's hardware address"),
    (["--mac", "zz"], "'zz' is no hardware address"),
    (["--mtu", "12"], "an MTU is between 68 and 65535, not 12"),
    (["--publish", "80"], "port '80' is not of the form"),
    (["--publish", "80:0"], "port '80:0': a port is a number between 1 and 65535"),
    (["--publish", "80:80/icmp"], "the protocol is tcp, udp or sctp, not 'icmp'"),
    (["--publish", "80:80", "--publish", "80:81"], "want the same port of the host"),
    (["--static-route", "10.0.0.0/8"], "route '10.0.0.0/8' is not of the form PREFIX=GATEWAY"),
    (["--ifname", "far-too-long-a-name"], "'far-too-long-a-name' cannot be the name of a network device"),
    (["--bridge", "lo"], "'lo' exists and is no bridge"),
    (["--hostless", "--bridge", "none0"], "there is no bridge 'none0', which with --hostless is yours to make"),
    (["--hostless", "--nat"], "NAT needs an address of the host on the bridge"),
    (["--bogus"], "unknown option '--bogus'"),
])
def test_wrong_words_are_one_sentence(host, place, words, sentence):
    assert sentence in host.refuses("create", "web", "--pid", place().pid, *words)
    host.nothing_left()


def test_what_is_taken_is_one_sentence(host, place):
    host("create", "web", "--pid", place().pid, "--ip", "172.19.0.9", "--publish", "8080:80")
    new = ("create", "new", "--pid", place().pid)
    assert "address 172.19.0.9 is taken by 'web'" in host.refuses(*new, "--ip", "172.19.0.9")
    assert "hardware address 02:72:ac:13:00:09 is taken by 'web'" in host.refuses(*new, "--mac", "02:72:ac:13:00:09")
    assert "port 127.0.0.1:8080:81/tcp: 'web' has published 8080:80/tcp already" in host.refuses(*new, "--publish", "127.0.0.1:8080:81")
    assert "subnet 172.19.7.0/24 overlaps with that of address 172.19.0.1" in host.refuses(*new, "--bridge", "rt1", "--subnet", "172.19.7.0/24")
    assert "there is no process" in host.refuses("create", "new", "--pid", 4194304)
    assert "cannot open network namespace '/nowhere'" in host.refuses("create", "new", "--netns", "/nowhere")
    assert "'/dev/null' is not a namespace" in host.refuses("create", "new", "--netns", "/dev/null")
    assert "give the network namespace by one of" in host.refuses("create", "new")
    assert "there is a network of this id already" in host.refuses("create", "web", "--pid", place().pid)
    assert set(host.list()) == {"web"}


def test_the_manual_page_and_the_help_name_every_command(host):
    manual, overview = host("man").out, host("help").out
    for name in ("hook", "create", "ls", "rm", "save", "load", "release", "detach", "attach", "announce"):
        assert f"\n  {name} " in overview
        assert f"\\fB{name}\\fR" in manual
        assert host(name, "--help").out.startswith(f"rt-netns {name} - ")


def test_two_state_directories_do_not_meet(host, place, work):
    other = netns.Host(work + "/net2")
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, "--publish", "8080:80")
    other("create", "web", "--pid", b.pid, "--bridge", "rt1", "--subnet", "10.5.0.0/24", "--publish", "8081:80")
    assert "it has a network already" in other.refuses("create", "web", "--pid", b.pid)
    assert "8080" in frozen.nft_rules() and "8081" in frozen.nft_rules()
    other("rm", "web")
    other.nothing_left()
    assert "8080" in frozen.nft_rules() and "8081" not in frozen.nft_rules()
    assert netns.devices(a.pid)["eth0"]["up"]


# After a crash

def test_killed_anywhere_rm_cleans_completely(host, place):
    """Killed at the first, second, third ... of its system calls that write or send, until one run gets through."""
    needs.program("strace")
    one = place()
    for call in ("sendto", "sendmsg", "write", "renameat"):
        for number in range(1, 100):
            argv = host.argv("create", "web", "--pid", one.pid, *SUBNET6, "--nat", "--publish", "8080:80")
            done = proc.run(["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", *argv], ok=None)
            host("rm", "--force", "web")
            assert not os.path.exists(host.directory), (call, number, os.listdir(host.directory))
            assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0"), (call, number)
            assert set(netns.devices(one.pid)) == {"lo"}
            if done.code == 0:
                break
        else:
            pytest.fail(f"{call} never ended")


def test_a_half_made_one_can_be_made_again(host, place):
    needs.program("strace")
    one = place()
    argv = host.argv("create", "web", "--pid", one.pid)
    proc.run(["strace", "-o", "/dev/null", "-e", "trace=sendto", "-e", "inject=sendto:signal=KILL:when=8", *argv], ok=False)
    assert host.list()["web"]["status"] == "half made"
    assert "is half made" in host.refuses("detach", "web")
    host("create", "web", "--pid", one.pid)
    assert host.list()["web"]["status"] == "up" and netns.devices(one.pid)["eth0"]["up"]


def test_a_spoilt_record_blocks_nobody_and_can_be_removed(host, place):
    host("create", "web", "--pid", place().pid, "--publish", "8080:80")
    with open(host.directory + "/web.json", "w") as f:
        f.write("{")
    host("create", "new", "--pid", place().pid)
    assert set(host.list()) == {"new"}
    host("rm", "web")
    host("rm", "new")
    host.nothing_left()
    assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0")
