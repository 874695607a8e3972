"""`rt snapshot push` and `pull`: through Debian's registry, and with others that have their own ways (hostile ones: test_snapshot_registry_hostile.py)."""

import hashlib
import json
import os
import signal
import time

import pytest

from lib import needs, proc, registry
from test_snapshot_store import SLEEP, Store


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def store(work):
    return Store(work + "/store")


@pytest.fixture
def other(work):
    return Store(work + "/other")


@pytest.fixture
def taken(running, store):
    """A container, whose snapshot 's' is in `store`."""
    c = running(SLEEP)
    store.create(c, "s", "--leave-running")
    return c


def with_no_credentials(**more):
    """The environment, without what could name a file with passwords."""
    known = ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "HOME")
    return {**{name: value for name, value in os.environ.items() if name not in known}, **more}


def is_one_sentence(text):
    assert text.startswith("rt: cannot pull a snapshot from ") or text.startswith("rt: cannot push snapshot "), text
    assert text.count("\n") == 1 and len(text) < 1200 and all(" " <= letter <= "~" for letter in text[:-1]), text


def test_a_snapshot_goes_through_a_registry_with_tls_and_a_password(inside, store, other, work):
    authority = registry.Authority(work + "/pki")
    c = inside()
    c.do("data = os.urandom(8 << 20)")
    store.create(c, "one", "--leave-running")
    c.do("x = 1")
    store.create(c, "two")
    with registry.Distribution(work, tls=authority, users={"me": "secret"}) as there:
        place = there.host + "/team/web"
        auth = ["--cacert", authority.ca, "--authfile", registry.auth_file(work + "/auth.json", **{there.host: "me:secret"})]
        first = store.rt(c, "push", *auth, "one", place + ":one").out
        count = len(store.chunks())
        # One blob a chunk, the index, and the manifest.
        assert first.startswith("pushed 'one': ") and "of which 0 were new" not in first
        assert "of which 0 were new (0.0 MiB)" in store.rt(c, "push", *auth, "one", place + ":again").out
        second = store.rt(c, "push", *auth, "two", place + ":two").out
        blobs, new = [int(word) for word in second.split() if word.isdigit()]
        assert 2 < new < blobs / 2
        assert len(there.blobs()) == count + 4

        out = other.rt(c, "pull", *auth, place + ":one").out
        assert out.startswith("pulled 'one': ")
        blobs, new = [int(word) for word in other.rt(c, "pull", *auth, place + ":two", "deux").out.split()[2:] if word.isdigit()]
        assert 2 < new < blobs / 2
        digest = first.splitlines()[1]
        assert "of which 1 were new" in other.rt(c, "pull", *auth, f"{place}@{digest}", "same").out
        assert other.names(c) == ["deux", "one", "same"]
        other.is_sound(c)
        assert [os.path.basename(path) for path in other.chunks()] == [os.path.basename(path) for path in store.chunks()]
        for path in other.files():
            assert os.stat(path).st_mode & 0o777 == 0o600
        assert "there is a snapshot 'one' already" in other.rt(c, "pull", *auth, place + ":one", ok=False).err
        assert "MANIFEST_UNKNOWN" in other.rt(c, "pull", *auth, place + ":nothing", ok=False).err
    c.to_file("run", "--detach", "--from-snapshot", "deux", "--store", other.path, "clone")
    assert json.loads(c.rt("state", "clone").out)["status"] == "running"
    c.rt("delete", "--force", "clone")


def test_who_we_are_is_looked_for_where_engines_keep_it(taken, store, work):
    with registry.Distribution(work, users={"me": "secret", "it": "other"}) as there:
        place = there.host + "/team/web:tag"
        os.makedirs(work + "/run/containers")
        os.makedirs(work + "/home/.docker")
        good = registry.auth_file(work + "/home/.docker/config.json", **{there.host: "me:secret"})

        def push(ok=True, flags=(), **env):
            return store.rt(taken, "push", *flags, "s", place, ok=ok, env=with_no_credentials(**env)).err

        push(HOME=work + "/home")
        push(DOCKER_CONFIG=work + "/home/.docker")
        push(REGISTRY_AUTH_FILE=good)
        registry.auth_file(work + "/run/containers/auth.json", **{f"http://{there.host}/v1/": "it:other"})
        push(XDG_RUNTIME_DIR=work + "/run")
        # The most specific one, and the first file that has something.
        registry.auth_file(work + "/run/containers/auth.json", **{there.host: "it:wrong", there.host + "/team": "it:other", there.host + "/te": "it:no"})
        push(XDG_RUNTIME_DIR=work + "/run")
        registry.auth_file(work + "/run/containers/auth.json", **{"elsewhere": "it:wrong"})
        push(XDG_RUNTIME_DIR=work + "/run", HOME=work + "/home")
        registry.auth_file(work + "/run/containers/auth.json", **{there.host: "it:swordfish"})
        err = push(ok=False, XDG_RUNTIME_DIR=work + "/run", HOME=work + "/home")
        assert f"UNAUTHORIZED: authentication required (status 401 of GET /v2/, with the credentials in '{work}/run/containers/auth.json')" in err
        assert "swordfish" not in err
        is_one_sentence(err)
        assert "it refused us, and no credentials for it were found ('--authfile')" in push(ok=False)
        assert f"the credentials in '{work}/none': " in push(ok=False, flags=["--authfile", work + "/none"])
        with open(work + "/broken", "w") as f:
            f.write('{"auths": {"x": {"auth": "c3dvcmRmaXNo"}\nswordfish')
        err = push(ok=False, REGISTRY_AUTH_FILE=work + "/broken")
        assert f"the credentials in '{work}/broken': line 2: it is no JSON object" in err and "swordfish" not in err
        with open(work + "/helped", "w") as f:
            json.dump({"credsStore": "vault"}, f)
        assert f"'{work}/helped' leaves the password to 'docker-credential-vault', which is not asked" in push(ok=False, REGISTRY_AUTH_FILE=work + "/helped")


@pytest.mark.parametrize("harbor", [False, True])
def test_a_registry_that_gives_tokens(taken, store, other, work, harbor):
    auth = ["--authfile", registry.auth_file(work + "/auth.json", **{"127.0.0.1": "wrong:one"})]
    with registry.Fake(auth="bearer") as there:
        there.harbor = harbor
        place = there.host + "/team/web:tag"
        assert "its token service refused us, and no credentials for it were found" in store.rt(taken, "push", *auth, "s", place, ok=False).err
        registry.auth_file(work + "/auth.json", **{there.host: "me:secret"})
        store.rt(taken, "push", *auth, "s", place)
        assert there.tokens == 1 and there.scope == "repository:team/web:pull,push"
        # They expire in the middle of it.
        left = [3]

        def expire(request):
            with there.lock:
                left[0] -= 1
                there.tokens += left[0] in (0, -5, -9)
        there.answer = expire
        other.rt(taken, "pull", *auth, place)
        assert there.scope == "repository:team/web:pull" and there.tokens >= 5
        other.is_sound(taken)
        given = [headers["Authorization"] for _, path, headers in there.requests if "Authorization" in headers and not path.startswith("/token")]
        assert given and all(word.startswith("Bearer ") for word in given)


def test_what_is_public_is_pulled_by_anybody(taken, store, other, work):
    auth = ["--authfile", registry.auth_file(work + "/auth.json", **{"127.0.0.1": "wrong:one"})]
    with registry.Fake(auth="bearer") as there:
        registry.auth_file(work + "/auth.json", **{there.host: "me:secret"})
        store.rt(taken, "push", *auth, "s", there.host + "/web:tag")
        there.public = there.harbor = True
        other.rt(taken, "pull", there.host + "/web:tag", env=with_no_credentials())
        other.is_sound(taken)
        there.blobs = {}
        err = store.rt(taken, "push", "s", there.host + "/web:tag", ok=False, env=with_no_credentials()).err
        assert "UNAUTHORIZED: who are you? (status 401 of POST" in err and "without credentials" in err
        is_one_sentence(err)


def test_an_identity_token_is_enough(taken, store, work):
    with registry.Fake(auth="bearer") as there:
        for token, fine in (("identity+of/me=", True), ("swordfish", False)):
            with open(work + "/auth.json", "w") as f:
                json.dump({"auths": {there.host: {"auth": "", "identitytoken": token}}}, f)
            err = store.rt(taken, "push", "--authfile", work + "/auth.json", "s", there.host + "/web:tag", ok=fine).err
            assert fine or f"its token service refused us with the credentials in '{work}/auth.json'" in err and token not in err
        assert there.scope == "repository:web:pull,push" and there.manifests


def test_a_busy_registry_is_asked_again(taken, store, other):
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        seen = set()

        def answer(request):
            with there.lock:
                first = (request.command, request.path) not in seen
                seen.add((request.command, request.path))
            return first and request.command != "HEAD" and request.send(503, b"later")
        there.answer = answer
        store.rt(taken, "push", "s", place, timeout=60)
        seen.clear()
        other.rt(taken, "pull", place, timeout=60)
        other.is_sound(taken)
        there.answer = lambda request: "/blobs/" in request.path and request.send(429, b"never")
        assert "never (status 429 of GET" in other.rt(taken, "pull", place, "again", ok=False).err


def test_a_broken_connection_ends_no_pull(taken, store, other):
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        store.rt(taken, "push", "s", place)
        tries = {}

        def cut(request, times):
            with there.lock:
                tries[request.path] = tries.get(request.path, 0) + 1
            if "/blobs/" in request.path and tries[request.path] <= times:
                data = there.blobs[request.path.split("/")[-1]]
                request.close_connection = True
                return request.send(200, data[:len(data) // 2], length=len(data))
        there.answer = lambda request: cut(request, 2)
        other.rt(taken, "pull", place, timeout=60)
        assert {times for path, times in tries.items() if "/blobs/" in path} == {3}
        other.is_sound(taken)
        tries.clear()
        there.answer = lambda request: cut(request, 9)
        err = other.rt(taken, "pull", place, "again", ok=False).err
        assert [times for path, times in tries.items() if "/blobs/" in path] == [3] and "GET /v2/web/blobs/sha256:" in err
        is_one_sentence(err)
        # What is wrong is not asked for again.
        tries.clear()
        registry.other_bytes(there)
        there.answer = lambda request: cut(request, 0)
        assert "is something else: its digest is" in other.rt(taken, "pull", place, "again", ok=False).err
        assert [times for path, times in tries.items() if "/blobs/" in path] == [1]


def test_a_blob_that_is_there_in_spite_of_the_answer_is_there(taken, store, other):
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        seen, lost = set(), []

        def answer(request):
            if request.command != "PUT" or "/uploads/" not in request.path:
                return False
            digest = registry.digest_of(request.body)
            with there.lock:
                again = digest in seen
                seen.add(digest)
            if not again and digest not in lost:
                there.blobs[digest] = request.body
            return request.send(404, b"no such upload") if again else request.send(504, b"slow")
        there.answer = answer
        store.rt(taken, "push", "s", place, timeout=60)
        other.rt(taken, "pull", place)
        other.is_sound(taken)
        lost = list(there.blobs)
        there.blobs.clear()
        seen.clear()
        assert "no such upload (status 404 of PUT" in store.rt(taken, "push", "s", place, ok=False, timeout=60).err


def test_a_registry_may_think_about_the_manifest(taken, store):
    with registry.Fake() as there:
        there.answer = lambda request: request.command == "PUT" and "/manifests/" in request.path and time.sleep(32)
        store.rt(taken, "push", "s", there.host + "/web:tag", timeout=60)
        assert "tag" in there.manifests


def test_what_a_url_has_behind_its_path_is_told_to_nobody(taken, store, other):
    with registry.Fake() as there:
        place = there.host + "/web:tag"

        def cut(request):
            request.close_connection = True
            return request.send(200, b"x", length=100)
        there.answer = lambda request: request.command == "PUT" and request.send(413, b"too large")
        err = store.rt(taken, "push", "s", place, ok=False).err
        assert "(status 413 of PUT /v2/web/blobs/uploads/one)" in err
        there.answer = None
        store.rt(taken, "push", "s", place)
        for last in (lambda request: request.send(403, b"no"), cut):
            there.answer = lambda request: "/blobs/" in request.path and (
                last(request) if "swordfish" in request.path else request.send(307, Location=request.path + "?signature=swordfish"))
            err = other.rt(taken, "pull", place, ok=False).err
            assert "/v2/web/blobs/sha256:" in err and "swordfish" not in err
            is_one_sentence(err)


def test_plain_http_is_spoken_to_this_host_alone(taken, store, other, work):
    proc.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"])
    try:
        with registry.Fake(address="192.0.2.1") as there:
            place = there.host + "/web:tag"
            is_one_sentence(store.rt(taken, "push", "s", place, ok=False).err)
            assert not there.blobs and not any(command == "PUT" for command, _, _ in there.requests)
            store.rt(taken, "push", "--plain-http", "s", place)
            is_one_sentence(other.rt(taken, "pull", place, ok=False).err)
            other.rt(taken, "pull", "--plain-http", place)
        with registry.Fake() as there:
            store.rt(taken, "push", "s", there.host + "/web:tag")
            port = there.host.split(":")[1]
            other.rt(taken, "pull", f"localhost:{port}/web:tag", "again")
        other.is_sound(taken)
    finally:
        proc.run(["ip", "address", "del", "192.0.2.1/32", "dev", "lo"])


def test_a_certificate_is_believed_only_by_its_authority(taken, store, work):
    authority, stranger = registry.Authority(work + "/pki"), registry.Authority(work + "/stranger")
    with registry.Fake(tls=authority) as there:
        for flags in ([], ["--cacert", stranger.ca]):
            err = store.rt(taken, "push", *flags, "s", there.host + "/web:tag", ok=False).err
            assert "certificate" in err
            is_one_sentence(err)
        store.rt(taken, "push", "--cacert", authority.ca, "s", there.host + "/web:tag")
        # Another name than the certificate's.
        err = store.rt(taken, "push", "--cacert", authority.ca, "s", f"localhost:{there.host.split(':')[1]}/web:tag", ok=False).err
        assert "certificate" in err


def test_what_is_no_place_is_said(taken, store, work):
    for place, words in {"web:tag": "must name the registry", "team/web:tag": "must name the registry", "localhost/web": "it has no tag",
                         "https://localhost/web:tag": "without 'https://'", "localhost/Web:tag": "small letters", "localhost/../../x:tag": "small letters",
                         "localhost/web:.tag": "a tag has 1 to 128", "localhost:99999/web:tag": "is no HOST or HOST:PORT", "me:secret@host.x/web:tag": "no HOST",
                         "localhost/web@sha256:12": "64 hexadecimal digits", "localhost/web@sha256:" + 64 * "a": "known only afterwards"}.items():
        err = store.rt(taken, "push", "s", place, ok=False).err
        assert words in err, (place, err)
        is_one_sentence(err)
    assert "there is no snapshot 'x'" in store.rt(taken, "push", "x", "localhost/web:tag", ok=False).err
    assert "'../x' is no name of a snapshot" in store.rt(taken, "pull", "localhost/web:tag", "../x", ok=False).err
    err = store.rt(taken, "push", "s", f"127.0.0.1:{registry.free_port()}/web:tag", ok=False).err
    assert "connect" in err
    is_one_sentence(err)


def test_blobs_elsewhere_are_fetched_without_our_password(taken, store, other, work):
    auth = ["--authfile", registry.auth_file(work + "/auth.json", **{"127.0.0.1": "me:secret"})]
    with registry.Fake(auth="basic") as there, registry.Fake() as elsewhere:
        auth = ["--authfile", registry.auth_file(work + "/auth.json", **{there.host: "me:secret"})]
        store.rt(taken, "push", *auth, "s", there.host + "/web:tag")
        elsewhere.blobs = there.blobs

        def redirect(request):
            return request.command == "GET" and "/blobs/" in request.path and request.send(307, Location=elsewhere.url + request.path)
        there.answer = redirect
        other.rt(taken, "pull", *auth, there.host + "/web:tag")
        assert len(elsewhere.requests) == len(there.blobs)
        assert not any("Authorization" in headers for _, _, headers in elsewhere.requests)
        other.is_sound(taken)
        # Round and round.
        there.answer = lambda request: request.command == "GET" and "/blobs/" in request.path and request.send(302, Location=request.path)
        err = other.rt(taken, "pull", *auth, there.host + "/web:tag", "again", ok=False).err
        assert "it sends us elsewhere again and again" in err
        is_one_sentence(err)
        # Where to put them is the registry's own affair.
        there.blobs = {}
        there.answer = lambda request: request.command == "POST" and request.send(202, Location=elsewhere.url + "/here")
        before = len(elsewhere.requests)
        err = store.rt(taken, "push", *auth, "s", there.host + "/web:tag", ok=False).err
        assert f"it wants a blob put to another host, '{elsewhere.url}'" in err and len(elsewhere.requests) == before
        is_one_sentence(err)


def test_nobody_is_sent_from_https_to_http(taken, store, other, work):
    authority = registry.Authority(work + "/pki")
    with registry.Fake(tls=authority) as there, registry.Fake() as elsewhere:
        ca = ["--cacert", authority.ca]
        store.rt(taken, "push", *ca, "s", there.host + "/web:tag")
        there.answer = lambda request: "/blobs/" in request.path and request.send(307, Location=elsewhere.url + request.path)
        assert "it sends us from https to" in other.rt(taken, "pull", *ca, there.host + "/web:tag", ok=False).err
        there.answer = lambda request: request.send(401, WWW_Authenticate=f'Bearer realm="{elsewhere.url}/token",service="x"')
        auth = ["--authfile", registry.auth_file(work + "/auth.json", **{there.host: "me:secret"})]
        assert "is not to be had by https" in other.rt(taken, "pull", *ca, *auth, there.host + "/web:tag", ok=False).err
        assert not elsewhere.requests and other.files() == []


def test_a_push_that_is_refused_says_why(taken, store):
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        for prepare, words in [
                (registry.of_answer("POST", "/uploads/", status=403, body=b'{"errors": [{"code": "DENIED"}]}'), "DENIED (status 403 of POST"),
                (registry.of_answer("POST", "/uploads/", status=202), "it doesn't say where to put a blob"),
                (registry.of_answer("PUT", "/uploads/", status=413, body=b"too large"), "too large (status 413 of PUT"),
                (registry.of_answer("HEAD", "/blobs/", status=200, length=7), "has 7 bytes, and not"),
                (registry.of_answer("PUT", "/manifests/", status=400, body=b'{"errors": [{"code": "MANIFEST_INVALID"}]}'), "MANIFEST_INVALID (status 400 of PUT")]:
            there.blobs, there.answer = {}, None
            prepare(there)
            err = store.rt(taken, "push", "s", place, ok=False).err
            assert words in err
            is_one_sentence(err)
            assert not there.manifests
        store.is_sound(taken)


@pytest.mark.parametrize("call", ["openat", "write", "renameat", "renameat2", "syncfs"])
def test_a_kill_at_any_point_of_a_pull_leaves_a_sound_store(taken, store, other, call):
    needs.program("strace")
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        store.rt(taken, "push", "s", place)
        for number in (1, 2, 5, 13, 34, 89):
            result = proc.run(["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}",
                               *taken.argv("snapshot", "pull", "--store", other.path, place, f"n{number}")], ok=None)
            if os.path.isdir(other.path + "/index"):
                other.is_sound(taken)
            if result.code == 0:
                break
        names = other.names(taken)
        for name in names:
            other.rt(taken, "rm", name)
        other.rt(taken, "gc")
        assert other.files() == [] and os.listdir(other.path + "/tmp") == []


def varint(value):
    more = []
    while value > 127:
        more.append(value & 127 | 128)
        value >>= 7
    return bytes([*more, value])


def field(number, value):
    """Of a protobuf message."""
    return varint(number << 3) + varint(value) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value


def put_snapshot(store, name, chunks, created=b"2026-11-26T20:00:00Z", more=b""):
    """One of a single file with chunks of 4096 bytes, so that it has many and is small all the same."""
    digests = b""
    for chunk in chunks:
        digest = registry.digest_of(chunk)[7:]
        os.makedirs(f"{store.path}/chunks/{digest[:2]}", exist_ok=True)
        with open(f"{store.path}/chunks/{digest[:2]}/{digest}", "wb") as f:
            f.write(chunk)
        digests += bytes.fromhex(digest)
    file = field(1, b"pages-1.img") + field(2, 4096 * len(chunks)) + field(3, digests)
    message = field(1, 1) + field(2, name.encode()) + field(3, 32 * b"a") + field(4, created) + field(5, 4096)
    message += field(6, field(1, 1) + field(2, 32 * b"a") + more) + field(7, file)
    os.makedirs(store.path + "/index", exist_ok=True)
    with open(f"{store.path}/index/{name}", "wb") as f:
        f.write(bytes.fromhex(registry.digest_of(message)[7:]) + message)


def test_a_large_snapshot_travels_in_bundles(container, store, other):
    c = container()
    chunks = [b"%4096d" % i for i in range(9000)]
    put_snapshot(store, "one", chunks)
    put_snapshot(store, "two", [b"%4096d" % -1, *chunks[:4000], *chunks[4001:]])
    with registry.Fake() as there:
        place = there.host + "/web:"
        store.rt(c, "push", "one", place + "one")
        manifest = json.loads(there.manifests["one"][1])
        assert manifest["annotations"]["org.rt.snapshot.bundle-bits"] == "2"
        layers = manifest["layers"]
        assert 9000 / 4 * 0.8 < len(layers) < 9000 / 4 * 1.2 and sum(layer["size"] for layer in layers) == 9000 * 4096
        # By hand: the digest of a bundle's last chunk, and of no other, ends with two bits of 0, unless there are 16 of them.
        at = 0
        for layer in layers:
            count = layer["size"] // 4096
            ends = [int(registry.digest_of(chunk)[-1], 16) & 3 == 0 for chunk in chunks[at:at + count]]
            assert not any(ends[:-1]) and (ends[-1] or count == 16 or at + count == 9000)
            assert there.blobs[layer["digest"]] == b"".join(chunks[at:at + count])
            at += count
        # What two snapshots have in common is sent once, wherever it lies.
        out = store.rt(c, "push", "two", place + "two").out
        assert int(out.split()[6]) <= 5, out
        other.rt(c, "pull", place + "one")
        assert int(other.rt(c, "pull", place + "two").out.split()[6]) <= 5
        other.is_sound(c)
        assert [os.path.basename(path) for path in other.chunks()] == [os.path.basename(path) for path in store.chunks()]


def test_a_snapshot_that_is_damaged_hides_no_other(container, store):
    c = container()
    put_snapshot(store, "fine", [b"%4096d" % 1], more=field(7, field(1, b"web")))
    put_snapshot(store, "id", [b"%4096d" % 1], more=field(7, field(1, b"web\x1b[31m")))
    put_snapshot(store, "time", [b"%4096d" % 1], created=b"now\x1b[31m")
    for name in ("empty", "no name~"):
        with open(f"{store.path}/index/{name}", "w"):
            pass
    result = store.rt(c, "ls")
    assert [line.split()[:3] for line in result.out.splitlines()] == [["NAME", "CREATED", "CONTAINER"], ["fine", "2026-11-26T20:00:00", "web"]]
    for name in ("id", "time", "empty", "no name~"):
        assert f"cannot list '{name}': " in result.err
    assert "\x1b" not in result.out + result.err and result.err.count("ignoring") == 4
    assert store.names(c) == ["fine"]


def test_a_push_that_no_registry_takes_begins_nothing(container, store):
    c = container()
    # Each ends a bundle: so many blobs don't fit into a manifest.
    digests = b"".join(hashlib.sha256(b"%d" % i).digest()[:30] + b"\0\0" for i in range(30000))
    file = field(1, b"pages-1.img") + field(2, 4096 * 30000) + field(3, digests)
    message = field(1, 1) + field(2, b"s") + field(3, 32 * b"a") + field(4, b"2026-11-26T20:00:00Z") + field(5, 4096) + field(7, file)
    os.makedirs(store.path + "/index")
    with open(store.path + "/index/s", "wb") as f:
        f.write(bytes.fromhex(registry.digest_of(message)[7:]) + message)
    with registry.Fake() as there:
        assert "for 30000 blobs: registries take 4194304" in store.rt(c, "push", "s", there.host + "/web:tag", ok=False).err
        assert all(command == "GET" for command, _, _ in there.requests) and not there.blobs


def test_gc_waits_for_a_pull(taken, store, other):
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        store.rt(taken, "push", "s", place)
        began = []

        def slowly(request):
            if "/blobs/" in request.path:
                began.append(request.path)
                time.sleep(0.1)
        there.answer = slowly
        child = proc.start(taken.argv("snapshot", "pull", "--store", other.path, place))
        try:
            proc.eventually(lambda: len(began) > 3, what="the pull to be on its way")
            other.rt(taken, "gc")
            assert child.wait(20) == 0
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        assert other.names(taken) == ["s"]
        other.is_sound(taken)
