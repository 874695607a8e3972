"""`rt snapshot pull` from registries that are not what they should be."""

import contextlib
import json
import os

from lib import registry
from test_snapshot_registry import criu, is_one_sentence, other, store, taken  # noqa: F401  fixtures


def of_manifest(change):
    """A registry whose manifest has been changed, and says so to nobody."""
    def prepare(there):
        type, data = there.manifests["tag"]
        manifest = json.loads(data)
        answer = change(manifest)
        there.manifests["tag"] = (type, answer if isinstance(answer, bytes) else json.dumps(manifest).encode())
    return prepare


def endless(what):
    def prepare(there):
        def answer(request):
            if what not in request.path:
                return False
            request.send(200, Content_Type="application/vnd.oci.image.manifest.v1+json", length=None, Connection="close")
            with contextlib.suppress(OSError):
                while True:
                    request.wfile.write(bytes(65536))
            request.close_connection = True
            return True
        there.answer = answer
    return prepare


def swapped(manifest):
    layers = manifest["layers"]
    layers[0]["digest"], layers[1]["digest"] = layers[1]["digest"], layers[0]["digest"]


def long_head(there):
    there.answer = lambda request: "/blobs/" in request.path and request.send(200, **{f"X{i}": 8000 * "x" for i in range(20)})


def index_named(name):
    """An index as it should be, but for the name it gives the snapshot."""
    def prepare(there):
        type, data = there.manifests["tag"]
        manifest = json.loads(data)
        message = there.blobs[manifest["config"]["digest"]][32:]
        assert message[:5] == b"\x08\x01\x12\x01s"
        message = b"\x08\x01\x12" + bytes([len(name)]) + name + message[5:]
        index = bytes.fromhex(registry.digest_of(message)[7:]) + message
        manifest["config"].update(digest=registry.digest_of(index), size=len(index))
        there.blobs[registry.digest_of(index)] = index
        there.manifests["tag"] = (type, json.dumps(manifest).encode())
    return prepare


HOSTILE = {
    "no json": (of_manifest(lambda m: b"\x1b[31m{"), "the manifest: it is no JSON"),
    "a list": (of_manifest(lambda m: b"[]"), "it is no JSON object"),
    "deep": (of_manifest(lambda m: 100000 * b"["), "it is no JSON"),
    "another artifact": (of_manifest(lambda m: m.update(artifactType="application/x\x1b[31m")), "'artifactType' is 'application/x?[31m' and not"),
    "no artifact": (of_manifest(lambda m: m.pop("artifactType") and None), "'artifactType' is missing"),
    "another version": (of_manifest(lambda m: m.update(schemaVersion=1)), "'schemaVersion' must be 2"),
    "no config": (of_manifest(lambda m: m.pop("config") and None), "'config' is missing"),
    "no layers": (of_manifest(lambda m: m.pop("layers") and None), "'layers' is missing"),
    "fewer layers": (of_manifest(lambda m: m["layers"].pop() and None), "layers, its index needs"),
    "swapped layers": (of_manifest(swapped), "its index needs"),
    "a layer of another type": (of_manifest(lambda m: m["layers"][0].update(mediaType="application/x")), "'layers[0].mediaType' is 'application/x'"),
    "a layer with a path": (of_manifest(lambda m: m["layers"][0].update(digest="sha256:../../../etc/passwd")), "'layers[0].digest' must be sha256:"),
    "a huge layer": (of_manifest(lambda m: m["layers"][0].update(size=1 << 40)), "'layers[0].size' must be at most"),
    "a huge index": (of_manifest(lambda m: m["config"].update(size=1 << 62)), "'config.size' must be at most"),
    "a negative size": (of_manifest(lambda m: m["config"].update(size=-1)), "'config.size'"),
    "no annotation": (of_manifest(lambda m: m.pop("annotations") and None), "org.rt.snapshot.bundle-bits"),
    "a tall bundle": (of_manifest(lambda m: m["annotations"].update({"org.rt.snapshot.bundle-bits": "64"})), "must be a number from 0 to 16"),
    "another index": (of_manifest(lambda m: m["config"].update(m["layers"][0], mediaType=m["config"]["mediaType"])), "its digest is not that of its content"),
    "a short index": (of_manifest(lambda m: m["config"].update(size=10)), "it sends more than 10 bytes"),
    "another type": (lambda there: there.manifests.update(tag=("text/html", b"<html>")), "is no snapshot: its media type is 'text/html'"),
    "another digest": (registry.of_answer("GET", "/manifests/", status=200, body=b"{}", Content_Type="application/vnd.oci.image.manifest.v1+json",
                                 Docker_Content_Digest="sha256:" + 64 * "0"), "the manifest is something else than it says"),
    "other bytes": (registry.other_bytes, "is something else: its digest is"),
    "an endless manifest": (endless("/manifests/"), "the answer is larger than 4194304 bytes"),
    "an endless blob": (endless("/blobs/"), "it sends more than"),
    "a cut blob": (registry.of_answer("GET", "/blobs/", status=200, body=b"x", Connection="close"), "bytes, and not"),
    "a long head": (long_head, "the head of the answer is larger than"),
    "a refusal": (registry.of_answer("GET", "/blobs/", status=403, body=b'{"errors": [{"code": "DENIED", "message": "no\\u001b[31m\\nway"}]}'), "DENIED: no?[31m (status 403 of GET"),
    "a page": (registry.of_answer("GET", "/blobs/", status=502, body=b"<html>" + 100000 * b"x"), "(status 502 of GET"),
    "elsewhere": (registry.of_answer("GET", "/blobs/", status=307, Location="file:///etc/passwd"), "it sends us elsewhere, but not to a URL"),
    "with a password": (registry.of_answer("GET", "/blobs/", status=307, Location="http://me:secret@127.0.0.1/x"), "but not to a URL"),
    "nowhere": (registry.of_answer("GET", "/blobs/", status=307), "but not to a URL"),
    "far away": (registry.of_answer("GET", "/blobs/", status=307, Location="http://192.0.2.7/x"), "refusing to speak plain http to host '192.0.2.7'"),
    "who": (registry.of_answer("GET", "/blobs/", status=401, WWW_Authenticate='Negotiate, Bearer realm'), "asks for neither a password nor a token"),
    "a token from nowhere": (registry.of_answer("GET", "/blobs/", status=401, WWW_Authenticate='Bearer realm="ftp://127.0.0.1/"'), "its token service is no URL"),
    "a path for a name": (index_named(b"../x"), "'../x' is no name of a snapshot"),
    "no name": (index_named(b""), "is no name of a snapshot"),
}


def test_a_hostile_registry_leaves_nothing(taken, store, other):  # noqa: F811
    with registry.Fake() as there:
        place = there.host + "/web:tag"
        store.rt(taken, "push", "s", place)
        blobs, manifests = dict(there.blobs), dict(there.manifests)
        for kind, (prepare, words) in HOSTILE.items():
            there.blobs, there.manifests, there.answer = dict(blobs), dict(manifests), None
            prepare(there)
            result = other.rt(taken, "pull", place, ok=None, timeout=20)
            assert result.code != 0 and words in result.err, (kind, result)
            is_one_sentence(result.err)
            assert other.files() == [] and os.listdir(other.path + "/tmp") == [], kind
        there.blobs, there.manifests, there.answer = dict(blobs), dict(manifests), None
        other.rt(taken, "pull", place)
        other.is_sound(taken)
