"""Registries: Debian's docker-registry, and one of our own that can be told to misbehave.

    with registry.Distribution(work, tls=authority, users={"me": "secret"}) as there: ...
    with registry.Fake() as there:
        there.answer = lambda request: request.send(500, b"no") if request.command == "PUT" else None
"""

import base64
import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import threading
import urllib.parse

from . import needs, proc


def free_port(address="127.0.0.1"):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


class Authority:
    """A CA, and a certificate for 127.0.0.1 that it signed."""

    def __init__(self, directory):
        needs.program("certtool")
        os.makedirs(directory)
        self.directory = directory
        self.ca = self._make("ca", "ca\ncert_signing_key\n", "--generate-self-signed")
        self.certificate = self._make("host", "tls_www_server\nencryption_key\nsigning_key\nip_address = 127.0.0.1\n", "--generate-certificate",
                                      "--load-ca-certificate", self.ca, "--load-ca-privkey", f"{directory}/ca.key")
        self.key = f"{directory}/host.key"

    def _make(self, name, words, *how):
        path = f"{self.directory}/{name}"
        with open(path + ".cfg", "w") as f:
            f.write(f'cn = "{name}"\nexpiration_days = 2\n{words}')
        proc.run(["certtool", "--generate-privkey", "--key-type", "ecdsa", "--outfile", path + ".key"])
        proc.run(["certtool", *how, "--load-privkey", path + ".key", "--template", path + ".cfg", "--outfile", path + ".pem"])
        return path + ".pem"


def auth_file(path, **users):
    """What `podman login` writes: auth_file(path, **{"127.0.0.1:5000": "me:secret"})."""
    with open(path, "w") as f:
        json.dump({"auths": {place: {"auth": base64.b64encode(user.encode()).decode()} for place, user in users.items()}}, f)
    return path


class Distribution:
    def __init__(self, work, tls=None, users=None, address="127.0.0.1"):
        needs.program("docker-registry")
        self.port = free_port(address)
        self.host = f"{address}:{self.port}"
        self.log = work + "/registry.log"
        config = {"version": "0.1", "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": work + "/registry"}, "delete": {"enabled": True}},
                  "http": {"addr": self.host, "secret": "of this test alone"}}
        if tls:
            config["http"]["tls"] = {"certificate": tls.certificate, "key": tls.key}
        if users:
            needs.program("htpasswd")
            words = [word for user, password in users.items() for word in ("htpasswd", "-nbBC4", user, password)]
            with open(work + "/htpasswd", "w") as f:
                for at in range(0, len(words), 4):
                    f.write(proc.run(words[at:at + 4]).out.strip() + "\n")
            config["auth"] = {"htpasswd": {"realm": "here", "path": work + "/htpasswd"}}
        with open(work + "/registry.yml", "w") as f:
            json.dump(config, f)  # which is YAML, too
        self.storage = work + "/registry/docker/registry/v2"
        self.address = address
        self.config = work + "/registry.yml"

    def __enter__(self):
        with open(self.log, "w") as log:
            self.process = proc.start(["docker-registry", "serve", self.config], stdout=log, stderr=log)
        proc.eventually(self._listens, what="docker-registry to listen")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def _listens(self):
        assert self.process.poll() is None, open(self.log).read()
        with socket.socket() as s:
            return s.connect_ex((self.address, self.port)) == 0

    def blobs(self):
        return [f"{at}/{name}" for at, _, names in os.walk(self.storage + "/blobs") for name in names]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        """`length=N` lies about how much comes."""
        length = headers.pop("length", len(body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
        return True

    def handle_any(self):
        there = self.server.registry
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with there.lock:
            there.requests.append((self.command, self.path, dict(self.headers)))
        try:
            if there.answer and there.answer(self):
                return
            there.serve(self)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = handle_any


class Fake:
    """As much of a registry as `rt` needs, in memory. `auth`: None, "basic" or "bearer" (me:secret); `answer` may take any request first. As Harbor does, one of
    `harbor` answers a dead token with a challenge for Basic; one of `public` gives tokens to anybody, with which /v2/ is refused and the rest may be read."""

    def __init__(self, auth=None, address="127.0.0.1", tls=None):
        self.auth, self.answer = auth, None
        self.blobs, self.manifests, self.requests = {}, {}, []
        self.tokens = 0
        self.harbor = self.public = False
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer((address, 0), Request)
        self.server.registry = self
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = "%s:%d" % self.server.server_address
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def allowed(self, request):
        given = request.headers.get("Authorization")
        if self.auth == "basic":
            return given == "Basic " + base64.b64encode(b"me:secret").decode()
        if self.public and given == f"Bearer anybody-{self.tokens}":
            return request.command in ("GET", "HEAD") and request.path != "/v2/"
        return self.auth is None or given == f"Bearer token-{self.tokens}"

    def challenge(self, request):
        if self.auth == "basic" or self.harbor and request.headers.get("Authorization"):
            return 'Basic realm="here"'
        return f'Bearer realm="{self.url}/token?x=1",service="the service",scope="repository:nothing:pull"'

    def give_token(self, request, query):
        if request.command == "POST":
            form = urllib.parse.parse_qs(request.body.decode())
            if form["grant_type"] != ["refresh_token"] or form["refresh_token"] != ["identity+of/me="]:
                return request.send(401, b"who?")
            with self.lock:
                self.tokens += 1
                self.scope = form["scope"][0]
            return request.send(200, json.dumps({"access_token": f"token-{self.tokens}"}).encode())
        if self.public and not request.headers.get("Authorization"):
            return request.send(200, json.dumps({"token": f"anybody-{self.tokens}"}).encode())
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
            return request.send(401, b'{"details": "who?"}')
        assert query == {"x": ["1"], "service": ["the service"], "scope": query["scope"]}
        with self.lock:
            self.tokens += 1
            self.scope = query["scope"][0]
        return request.send(200, json.dumps({"token": f"token-{self.tokens}", "expires_in": 60}).encode())

    def serve(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == "/token":
            return self.give_token(request, query)
        if not self.allowed(request):
            return request.send(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}', WWW_Authenticate=self.challenge(request))
        if url.path == "/v2/":
            return request.send(200, b"{}")
        match = re.fullmatch(r"/v2/(.+)/(blobs|manifests)/(.+)", url.path)
        if not match:
            return request.send(404, b"what?")
        return getattr(self, f"{request.command.lower()}_{match[2]}", self.nothing)(request, match[3], query)

    def nothing(self, request, name, query):
        return request.send(404, b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "there is none"}]}')

    def get_blobs(self, request, name, query):
        data = self.blobs.get(name)
        return self.nothing(request, name, query) if data is None else request.send(200, data, Content_Type="application/octet-stream")

    head_blobs = get_blobs

    def post_blobs(self, request, name, query):
        return request.send(202, Location=request.path.split("?")[0] + "one?state=x%2Fy")

    def put_blobs(self, request, name, query):
        assert query["state"] == ["x/y"]
        if query["digest"] != [digest_of(request.body)]:
            return request.send(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        self.blobs[query["digest"][0]] = request.body
        return request.send(201)

    def get_manifests(self, request, name, query):
        type, data = self.manifests.get(name, (None, None))
        return self.nothing(request, name, query) if data is None else request.send(200, data, Content_Type=type, Docker_Content_Digest=digest_of(data))

    def put_manifests(self, request, name, query):
        manifest = json.loads(request.body)
        assert all(blob["digest"] in self.blobs and blob["size"] == len(self.blobs[blob["digest"]]) for blob in [manifest["config"], *manifest["layers"]])
        self.manifests[name] = self.manifests[digest_of(request.body)] = (request.headers["Content-Type"], request.body)
        return request.send(201)


# ---- what becomes of one: each is given the Fake ----

def of_answer(command, what, **how):
    def prepare(there):
        there.answer = lambda request: request.command == command and what in request.path and request.send(**how)
    return prepare


def other_bytes(there):
    there.blobs = {digest: bytes([data[0] ^ 1]) + data[1:] for digest, data in there.blobs.items()}
