"""Container images made by hand, so that a test decides every byte; and what a tree looks like."""

import gzip
import hashlib
import io
import json
import os
import stat
import struct
import tarfile

OCI = "application/vnd.oci.image."
NAME = "org.opencontainers.image.ref.name"


def member(name, kind=tarfile.REGTYPE, link="", *, mode=None, uid=0, gid=0, mtime=1000000000, xattrs=None, device=(0, 0)):
    m = tarfile.TarInfo(name)
    m.type = kind
    m.linkname = link
    m.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
    m.uid, m.gid, m.mtime = uid, gid, mtime
    m.devmajor, m.devminor = device
    m.pax_headers = {f"SCHILY.xattr.{k}": v if isinstance(v, str) else v.decode("utf-8", "surrogateescape")
                     for k, v in (xattrs or {}).items()}
    return m


def directory(name, **how):
    return member(name, tarfile.DIRTYPE, **how), b""


def file(name, data=b"", **how):
    return member(name, **how), data


def symlink(name, target, **how):
    return member(name, tarfile.SYMTYPE, target, **how), b""


def hardlink(name, target, **how):
    return member(name, tarfile.LNKTYPE, target, **how), b""


def device(name, number, kind=tarfile.CHRTYPE, **how):
    return member(name, kind, device=number, **how), b""


def layer(*entries):
    """The bytes of a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        for m, data in entries:
            if m.isfile():
                m.size = len(data)
            tar.addfile(m, io.BytesIO(data) if m.isfile() else None)
    return out.getvalue()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Layout:
    """An image layout directory: add() images, then finish()."""

    def __init__(self, path):
        self.path = str(path)
        self.manifests = []
        os.makedirs(f"{path}/blobs/sha256")

    def blob(self, data, media_type, **more):
        digest = sha256(data)
        with open(f"{self.path}/blobs/sha256/{digest}", "wb") as f:
            f.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    def json(self, value, media_type, **more):
        return self.blob(json.dumps(value).encode(), media_type, **more)

    def image(self, layers, config=None, *, pack=gzip.compress, suffix="+gzip", architecture="amd64", change=None):
        """The descriptor of a manifest. change(manifest, configuration) spoils them."""
        descriptors = [self.blob(pack(data), OCI + "layer.v1.tar" + suffix) for data in layers]
        configuration = {"architecture": architecture, "os": "linux", "config": config or {},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(data) for data in layers]}}
        manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": None, "layers": descriptors}
        if change:
            change(manifest, configuration)
        manifest["config"] = self.json(configuration, OCI + "config.v1+json")
        return self.json(manifest, OCI + "manifest.v1+json")

    def add(self, layers, config=None, *, tag=None, **how):
        descriptor = self.image(layers, config, **how)
        if tag:
            descriptor["annotations"] = {NAME: tag}
        self.manifests.append(descriptor)
        return self

    def finish(self):
        with open(f"{self.path}/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": self.manifests}, f)
        with open(f"{self.path}/oci-layout", "w") as f:
            json.dump({"imageLayoutVersion": "1.0.0"}, f)
        return self.path


def layout(path, *layers, config=None, **how):
    return Layout(path).add(layers, config, **how).finish()


def tree(root):
    """{path: what it is}: two trees with the same are the same."""
    root = str(root)
    found, names = {}, {}
    for directory_name, subdirectories, files in os.walk(root):
        for name in [".", *files, *[d for d in subdirectories if os.path.islink(os.path.join(directory_name, d))]]:
            path = os.path.normpath(os.path.join(directory_name, name))
            st = os.lstat(path)
            key = os.path.relpath(path, root)
            if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
                names.setdefault(st.st_ino, []).append(key)
            found[key] = {
                "mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns,
                "device": st.st_rdev, "size": 0 if stat.S_ISDIR(st.st_mode) else st.st_size,
                "target": os.readlink(path) if stat.S_ISLNK(st.st_mode) else None,
                "content": sha256(contents(path)) if stat.S_ISREG(st.st_mode) else None,
                "xattrs": {n: os.getxattr(path, n, follow_symlinks=False)
                           for n in os.listxattr(path, follow_symlinks=False) if n != "security.selinux"},
            }
    for group in names.values():
        for key in group:
            found[key]["names"] = sorted(group)
    return found


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def differences(a, b, *, ignore=()):
    """What to print when two trees should have been the same."""
    told = []
    for key in sorted(set(a) | set(b)):
        left, right = ({k: v for k, v in t.get(key, {}).items() if k not in ignore} for t in (a, b))
        if left != right:
            told.append(f"{key}: {left} / {right}")
    return told


def caps(bits, root=None):
    """security.capability, effective: version 2, or 3 for the root of a user namespace."""
    version = 0x02000000 if root is None else 0x03000000
    value = struct.pack("<IIIII", version | 1, bits & 0xffffffff, 0, bits >> 32, 0)
    return value if root is None else value + struct.pack("<I", root)


def acl(users=(), groups=()):
    """system.posix_acl_*: rwx for the owner, r for everybody named."""
    entries = [(0x01, 7, 0xffffffff), *[(0x02, 4, u) for u in users], (0x04, 5, 0xffffffff),
               *[(0x08, 4, g) for g in groups], (0x10, 5, 0xffffffff), (0x20, 0, 0xffffffff)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
