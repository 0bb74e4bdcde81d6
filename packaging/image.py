"""Make a container image of dist/mbcas/ without a container engine: dist/mbcas-image.tar.

The image holds the folder, the few libraries of glibc that it needs, certificates, and nothing else: no shell, no
package manager, no Python. It runs as a user without privileges on a read-only root. The archive is an OCI layout that
also carries docker's own manifest, so podman, docker, containerd and skopeo all read it. The same folder gives the same
bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mbcasd import __version__

ROOT = Path(__file__).resolve().parent.parent
FOLDER, TARGET = ROOT / "dist" / "mbcas", ROOT / "dist" / "mbcas-image.tar"

PLACE = "usr/lib/mbcas"
USER = 65532  # "nonroot" by the custom of small images; deploy/ says the same
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# Loaded by name when the first host name is looked up; since 2.34 they are part of libc.
NAME_SERVICES = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")

DIRECTORIES = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "host/cgroup": 0o755, "tmp": 0o1777}
# What agents write, if nothing is mounted there.
OWN_DIRECTORIES = ("run/mbcas", "var/lib/mbcas")
TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/:/nologin\nmbcas:x:{USER}:{USER}:mbcas:/var/lib/mbcas:/nologin\n",
    "etc/group": f"root:x:0:\nmbcas:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
LINKS = {
    f"{PLACE}/mbcasd": "mbcasctl",
    "usr/bin/mbcasd": "../lib/mbcas/mbcasd",
    "usr/bin/mbcasctl": "../lib/mbcas/mbcasctl",
}


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are found by their digest."""

    data: bytes
    kind: str

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def path(self) -> str:
        """Where it stands in the archive."""
        return f"blobs/sha256/{self.digest}"

    def described(self, **more: object) -> dict[str, object]:
        """How a manifest names it."""
        return {"mediaType": self.kind, "digest": f"sha256:{self.digest}", "size": len(self.data), **more}


def libraries(folder: Path) -> list[Path]:
    """Shared libraries from outside the folder that something in it needs, as the loader finds them, and the loader.

    Their places in the image are those that they have here: this loader knows them without a cache. What starts the
    programs must find its libraries by itself; it tells those that it starts to look into the folder.
    """
    inside = folder / "_internal"
    found: set[Path] = set()
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not file.is_file() or not file.read_bytes().startswith(b"\x7fELF"):
            continue
        environ = {"PATH": os.defpath} | ({"LD_LIBRARY_PATH": str(inside)} if file.is_relative_to(inside) else {})
        told = subprocess.run(["/usr/bin/ldd", file], env=environ, capture_output=True, text=True, check=False).stdout
        if missing := re.findall(r"(\S+) => not found", told):
            sys.exit(f"{file} needs {', '.join(missing)}, which this machine does not have")
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", told)}
    outside = {path for path in found if not path.is_relative_to(folder)}
    libc = next(path for path in outside if path.name == "libc.so.6")
    if _glibc() < (2, 34):
        outside |= {path for name in NAME_SERVICES if (path := libc.with_name(name)).exists()}
    return sorted(outside)


def _glibc() -> tuple[int, int]:
    major, minor = (os.confstr("CS_GNU_LIBC_VERSION") or "glibc 0.0").split()[1].split(".")[:2]
    return int(major), int(minor)


def contents(folder: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """All entries of the root file system, in the order of their names, with owners and modes but without times."""
    files, links = _files(folder), _links(folder)
    directories = dict(DIRECTORIES) | dict.fromkeys(OWN_DIRECTORIES, 0o755)
    for name in [*files, *links, *directories]:
        for parent in Path(name).parents[:-1]:
            directories.setdefault(str(parent), 0o755)
    for name in sorted([*directories, *files, *links]):
        entry = tarfile.TarInfo(name)
        entry.uid = entry.gid = USER if name in OWN_DIRECTORIES else 0
        data = b""
        if name in directories:
            entry.type, entry.mode = tarfile.DIRTYPE, directories[name]
        elif name in links:
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, links[name], 0o777
        else:
            entry.mode, data = files[name]
            entry.size = len(data)
        yield entry, data


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file: the build, what it needs from this machine, and some lines of text."""
    files = {name: (0o644, text.encode()) for name, text in TEXTS.items()}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            files[f"{PLACE}/{file.relative_to(folder)}"] = (mode, file.read_bytes())
    for library in libraries(folder):
        files[str(library).removeprefix("/")] = (0o755, library.read_bytes())
    if (certificates := Path("/", CERTIFICATES)).exists():
        files[CERTIFICATES] = (0o644, certificates.read_bytes())
    return files


def _links(folder: Path) -> dict[str, str]:
    """Where every symbolic link points."""
    found = {file.relative_to(folder): file.readlink() for file in folder.rglob("*") if file.is_symlink()}
    return LINKS | {f"{PLACE}/{name}": str(target) for name, target in found.items()}


def archive(entries: Iterator[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Write entries as a tar file without anything of this machine."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, data in entries:
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def image(folder: Path, name: str, made_at: datetime) -> bytes:
    """Put the whole archive together."""
    root = archive(contents(folder))
    layer = Blob(gzip.compress(root, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    made = made_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    config = Blob(
        as_json(
            {
                "created": made,
                "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {
                    "User": f"{USER}:{USER}",
                    "Entrypoint": ["/usr/bin/mbcasd"],
                    "WorkingDir": "/",
                    "Env": ["PATH=/usr/bin", f"SSL_CERT_FILE=/{CERTIFICATES}", "LANG=C.UTF-8"],
                    "Labels": {
                        "org.opencontainers.image.title": "mbcas",
                        "org.opencontainers.image.version": __version__,
                        "org.opencontainers.image.licenses": "MIT",
                    },
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(root).hexdigest()}"]},
                "history": [{"created": made, "created_by": "packaging/image.py"}],
            }
        ),
        "application/vnd.oci.image.config.v1+json",
    )
    manifest = Blob(
        as_json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config.described(),
                "layers": [layer.described()],
            }
        ),
        "application/vnd.oci.image.manifest.v1+json",
    )
    names = {"io.containerd.image.name": reference(name), "org.opencontainers.image.ref.name": tag(name)}
    index = {"schemaVersion": 2, "manifests": [manifest.described(annotations=names)]}
    for_docker = [{"Config": config.path, "RepoTags": [name], "Layers": [layer.path]}]
    files = {
        "oci-layout": as_json({"imageLayoutVersion": "1.0.0"}),
        "index.json": as_json(index),
        "manifest.json": as_json(for_docker),
        **{blob.path: blob.data for blob in (config, layer, manifest)},
    }

    def entries() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            yield entry, data

    return archive(entries())


def as_json(value: object) -> bytes:
    """Encode a value, always in the same way."""
    return json.dumps(value, separators=(",", ":")).encode()


def reference(name: str) -> str:
    """The full name, as containerd stores it: `mbcas:1` is docker.io/library/mbcas:1."""
    first, slash, _ = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def tag(name: str) -> str:
    """The tag of a name; `latest` where it has none."""
    return name.rpartition("/")[2].partition(":")[2] or "latest"


def main() -> None:
    """Write the archive and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--name", default=f"mbcas:{__version__}", help="name and tag (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the build (default: dist/mbcas)")
    parser.add_argument("--output", type=Path, default=TARGET, help="the archive (default: dist/mbcas-image.tar)")
    options = parser.parse_args()
    if not (options.folder / "mbcasctl").exists():
        sys.exit(f"{options.folder} is not built; run `make build`")
    # Of the build, not of this moment: the same folder gives the same image.
    made_at = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    options.output.write_bytes(image(options.folder, options.name, made_at))
    print(f"{options.output}: {options.name}, {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
