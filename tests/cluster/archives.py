"""Images without a registry and without a container engine: docker archives, written with the standard library."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import programs

SOURCES = Path(__file__).with_name("images")
PAUSE = "localhost/pause:1"
BUSYBOX = "localhost/busybox:1"
BURNER = "localhost/burner:1"
BUSYBOX_COMMANDS = ("sh", "sleep", "cat", "echo", "ls", "wget", "nc", "httpd", "touch", "id", "env", "true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of a single layer."""

    name: str  # with its tag
    entrypoint: Sequence[str]
    files: Mapping[str, bytes | str]  # path in the image: the content of a program, or what a link points to
    env: Mapping[str, str] = field(default_factory=dict)


def missing() -> str | None:
    """Why the images of the test cluster cannot be made; None: they can."""
    absent = [name for name in ("busybox", "gcc") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def write_archive(path: Path, images: Sequence[Image]) -> None:
    """Write images as one archive that `docker load` and `ctr images import` take; the same bytes every time."""
    manifest = []
    with tarfile.open(path, "w") as archive:
        for image in images:
            layer = _layer(image.files)
            diff_id = hashlib.sha256(layer).hexdigest()
            env = {"PATH": "/bin"} | dict(image.env)
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "1970-01-01T00:00:00Z",
                    "config": {
                        "Entrypoint": list(image.entrypoint),
                        "Env": [f"{name}={value}" for name, value in env.items()],
                    },
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
                }
            ).encode()
            config_name, layer_name = f"{hashlib.sha256(config).hexdigest()}.json", f"{diff_id}/layer.tar"
            _add(archive, config_name, config)
            _add(archive, layer_name, layer)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def standard_archive() -> Path:
    """The images of every test cluster, made once: pause, busybox and the burner."""
    programs_used = (*SOURCES.glob("*.c"), Path(str(shutil.which("busybox"))), Path(__file__))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(programs_used))).hexdigest()
    archive = programs.cache() / f"images-{digest[:12]}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(f".{programs.unique()}")
        write_archive(unfinished, _standard())
        unfinished.rename(archive)
    return archive


def _standard() -> list[Image]:
    busybox: dict[str, bytes | str] = {"bin/busybox": Path(str(shutil.which("busybox"))).read_bytes()}
    shell = busybox | dict.fromkeys((f"bin/{command}" for command in BUSYBOX_COMMANDS), "busybox")
    return [
        Image(name=PAUSE, entrypoint=["/pause"], files={"pause": _compiled("pause.c")}),
        Image(name=BUSYBOX, entrypoint=[], files=shell),
        Image(name=BURNER, entrypoint=["/bin/burner"], files=shell | {"bin/burner": _compiled("burner.c")}),
    ]


def _compiled(source: str) -> bytes:
    work = programs.cache() / f"{source}.{programs.unique()}"
    try:
        subprocess.run(
            ["gcc", "-O2", "-static", "-pthread", "-o", work, SOURCES / source],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return work.read_bytes()
    finally:
        work.unlink(missing_ok=True)


def _layer(files: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for folder in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            layer.addfile(info)
        for path, content in files.items():
            if isinstance(content, str):
                info = tarfile.TarInfo(path)
                info.type, info.linkname = tarfile.SYMTYPE, content
                layer.addfile(info)
            else:
                _add(layer, path, content, mode=0o755)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))
