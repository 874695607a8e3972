"""Who may migrate to a host, and what: TLS, certificates, tokens, and what a host lets a source bring."""

import os
import stat

import pytest

from lib import config, needs, proc

SECRET = "Zeh4-ahr7-quai0-boh9"


@pytest.fixture
def sleeper(hosts):
    """A container on host a; host b has its bundle."""
    c = hosts.a.container(["sleep", "1000"])
    hosts.b.put_bundle(c)
    c.run_detached()
    return c


@pytest.fixture
def pki(work):
    """A CA, a certificate of host b, one of a source, and one of a source that another CA knows."""
    return Pki(f"{work}/pki")


class Pki:
    def __init__(self, directory):
        self.directory = directory
        needs.skip_unless(proc.run(["sh", "-c", "command -v certtool"], ok=None).code == 0, "no certtool here")
        os.makedirs(directory)
        for ca in ("ca", "stranger"):
            self.sign(ca, None, "ca\ncert_signing_key\n")
        self.sign("host", "ca", "tls_www_server\nencryption_key\nsigning_key\nip_address = 10.99.0.2\n")
        self.sign("wrong-host", "ca", "tls_www_server\nencryption_key\nsigning_key\nip_address = 10.99.0.77\n")
        self.sign("source", "ca", "tls_www_client\nsigning_key\n")
        self.sign("impostor", "stranger", "tls_www_client\nsigning_key\n")

    def path(self, name, kind="pem"):
        return f"{self.directory}/{name}.{kind}"

    def sign(self, name, by, words):
        template = self.path(name, "cfg")
        with open(template, "w") as f:
            f.write(f'cn = "{name}"\nexpiration_days = 2\n{words}')
        proc.run(["certtool", "--generate-privkey", "--key-type", "ecdsa", "--outfile", self.path(name, "key")])
        os.chmod(self.path(name, "key"), 0o600)
        how = ["--generate-certificate", "--load-ca-certificate", self.path(by), "--load-ca-privkey", self.path(by, "key")] if by else [
            "--generate-self-signed"]
        proc.run(["certtool", *how, "--load-privkey", self.path(name, "key"), "--template", template, "--outfile", self.path(name)])

    def pair(self, name):
        return ["--cert", self.path(name), "--key", self.path(name, "key")]

    def token(self, text=SECRET, name="token", mode=0o600):
        path = self.path(name, "txt")
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, mode)
        return path


URL = "https://10.99.0.2:7443"


def test_a_client_certificate_lets_in(hosts, sleeper, pki):
    hosts.b.receive(*pki.pair("host"), "--client-ca", pki.path("ca"), plain=False)
    with_ca = ["--cacert", pki.path("ca")]
    refused = hosts.refuses(sleeper, *with_ca, url=URL, plain=False)
    assert "certificate" in refused and "none was sent" in refused
    refused = hosts.refuses(sleeper, *with_ca, *pki.pair("impostor"), url=URL, plain=False)
    assert "certificate" in refused
    move = hosts.migrate(sleeper, *with_ca, *pki.pair("source"), url=URL, plain=False)
    assert move.container.status == "running"
    assert "source" in hosts.b.receive_log, "the log says who it was"


def test_a_token_lets_in(hosts, sleeper, pki):
    hosts.b.receive(*pki.pair("host"), "--token-file", pki.token(), plain=False)
    with_ca = ["--cacert", pki.path("ca")]
    assert "a token is needed" in hosts.refuses(sleeper, *with_ca, url=URL, plain=False)
    wrong = pki.token("Zeh4-ahr7-quai0-boh8", name="wrong")
    assert "the token is wrong" in hosts.refuses(sleeper, *with_ca, "--token-file", wrong, url=URL, plain=False)
    open_to_all = pki.token(name="open", mode=0o644)
    assert "0600" in hosts.refuses(sleeper, *with_ca, "--token-file", open_to_all, url=URL, plain=False)
    assert hosts.migrate(sleeper, *with_ca, "--token-file", pki.token(), url=URL, plain=False).container.status == "running"


def test_where_both_are_asked_for_both_are_needed(hosts, sleeper, pki):
    hosts.b.receive(*pki.pair("host"), "--client-ca", pki.path("ca"), "--token-file", pki.token(), plain=False)
    with_ca = ["--cacert", pki.path("ca")]
    assert "token" in hosts.refuses(sleeper, *with_ca, *pki.pair("source"), url=URL, plain=False)
    assert "certificate" in hosts.refuses(sleeper, *with_ca, "--token-file", pki.token(), url=URL, plain=False)
    hosts.migrate(sleeper, *with_ca, *pki.pair("source"), "--token-file", pki.token(), url=URL, plain=False)


def test_the_source_checks_who_the_target_is(hosts, sleeper, pki):
    hosts.b.receive(*pki.pair("wrong-host"), "--client-ca", pki.path("ca"), plain=False)
    assert "10.99.0.2" in hosts.refuses(sleeper, "--cacert", pki.path("ca"), *pki.pair("source"), url=URL, plain=False)
    hosts.b.stop_receiving()
    hosts.b.receive(*pki.pair("host"), "--client-ca", pki.path("ca"), plain=False)
    assert "certificate" in hosts.refuses(sleeper, "--cacert", pki.path("stranger"), *pki.pair("source"), url=URL, plain=False)


def test_plain_http_must_be_asked_for_on_both_sides(hosts, sleeper):
    hosts.b.receive(plain=False, wait=False)
    assert hosts.b.daemon.wait(10) != 0
    hosts.b.daemon = None
    assert "refusing to listen on '10.99.0.2:7443' without TLS" in hosts.b.receive_log
    hosts.b.receive()
    assert "refusing to speak plain http" in hosts.refuses(sleeper, plain=False)
    hosts.migrate(sleeper)


def test_tls_needs_something_that_proves_who_asks(hosts, pki):
    hosts.b.receive(*pki.pair("host"), plain=False, wait=False)
    assert hosts.b.daemon.wait(10) != 0
    hosts.b.daemon = None
    assert "a CA for client certificates or a token file is needed" in hosts.b.receive_log


def test_the_token_is_seen_nowhere(hosts, sleeper, pki):
    """Neither in a command line nor in a file that it leaves: it stands in the token file alone."""
    token = pki.token()
    hosts.b.receive(*pki.pair("host"), "--token-file", token, plain=False)
    argv = hosts.argv(sleeper, "--json", "--cacert", pki.path("ca"), "--token-file", token, url=URL, plain=False)
    out = f"{hosts.work}/out"
    seen = []
    with open(out, "wb") as f:
        tool = proc.start(argv, stdout=f, stderr=f)
    try:
        while tool.poll() is None:
            seen += [where for where in command_lines() if SECRET in where]
            seen += files_with(SECRET, *map(hosts_files, hosts.made))
    finally:
        tool.kill()
        tool.wait()
    assert tool.returncode == 0
    seen += files_with(SECRET, out, hosts.b.log, *map(hosts_files, hosts.made))
    assert seen == []


def hosts_files(host):
    return host.inside("/run")


def command_lines():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            for what in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{name}/{what}", errors="replace") as f:
                        found.append(f.read())
                except OSError:
                    pass
    return found


def files_with(text, *tops):
    """Journals and the like: small files, not pages of memory."""
    found = proc.run(["grep", "-rlIs", "--exclude-dir=pki", "--exclude-dir=rootfs", "--exclude-dir=templates", text, *tops], ok=None).out
    return found.split()


def test_nobody_unknown_reads_the_status(hosts, pki):
    hosts.b.receive(*pki.pair("host"), "--token-file", pki.token(), plain=False)
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", pki.path("ca"), URL + "/v1/status"]
    needs.skip_unless(proc.run(["sh", "-c", "command -v curl"], ok=None).code == 0, "no curl here")
    assert hosts.b.run(curl).out == "401"
    assert hosts.b.run([*curl, "-H", f"Authorization: Bearer {SECRET}"]).out == "200"


# ---- what a host lets a source bring ----

def test_only_allowed_ids_are_taken(hosts, sleeper):
    hosts.b.receive("--allow-id", "db-*", "--allow-id", "we?")
    other = hosts.a.running(["sleep", "1000"], id="mail")
    hosts.b.put_bundle(other)
    assert "no --allow-id of this host covers 'mail'" in hosts.refuses(other)
    assert "no --allow-id" in hosts.refuses(sleeper, "--new-id", "webby")
    hosts.migrate(sleeper)


def test_a_configuration_is_taken_only_where_allowed(hosts):
    c = hosts.a.running(["sleep", "1000"])
    hosts.b.receive()
    assert "without --allow-config none is taken" in hosts.refuses(c, "--rootfs", "copy")
    hosts.b.stop_receiving()
    hosts.b.receive("--allow-config")
    assert hosts.migrate(c, "--rootfs", "copy").container.status == "running"


def test_binds_of_a_foreign_configuration_are_limited(hosts):
    os.makedirs(f"{hosts.work}/data")
    c = hosts.a.container(["sleep", "1000"])
    c.config["mounts"].append(config.bind(f"{hosts.work}/data", "/mnt"))
    c.run_detached()
    hosts.b.receive("--allow-config", "--allow-mount", f"{hosts.work}/dat", "--allow-mount", f"{hosts.work}/data/below")
    assert f"binds '{hosts.work}/data', which no --allow-mount" in hosts.refuses(c, "--rootfs", "copy")
    hosts.b.stop_receiving()
    hosts.b.receive("--allow-config", "--allow-mount", hosts.work)
    moved = hosts.migrate(c, "--rootfs", "copy").container
    moved.exec("touch", "/mnt/here")
    assert os.path.exists(f"{hosts.work}/data/here")


def test_hooks_and_namespaces_of_a_foreign_configuration_are_limited(hosts):
    c = hosts.a.container(["sleep", "1000"])
    c.config["hooks"] = {"poststop": [{"path": "/bin/true", "args": ["true"]}]}
    c.run_detached()
    joining = hosts.a.container(["sleep", "1000"], id="joining")
    config.set_namespace(joining.config, "uts", f"/proc/{hosts.a.pid}/ns/uts")
    joining.run_detached()
    hosts.b.receive("--allow-config")
    assert "names the hook '/bin/true', which no --allow-hook" in hosts.refuses(c, "--rootfs", "copy")
    assert "joins the namespace" in hosts.refuses(joining, "--rootfs", "copy")
    hosts.b.stop_receiving()
    hosts.b.receive("--allow-config", "--allow-hook", "/bin/true")
    hosts.migrate(c, "--rootfs", "copy")


def test_what_a_host_keeps_is_root_s_alone(hosts):
    """Images, configurations and journals: nobody else can read them."""
    c = hosts.a.running(["sleep", "1000"])
    hosts.b.receive("--allow-config", "--allow-mount", "/")
    hosts.migrate(c, "--rootfs", "copy")
    top = hosts.b.inside("/run/rt-receive")
    assert stat.S_IMODE(os.stat(top).st_mode) == 0o700
    for directory, below, names in os.walk(top):
        for name in below + names:
            assert stat.S_IMODE(os.lstat(os.path.join(directory, name)).st_mode) & 0o077 == 0, name
