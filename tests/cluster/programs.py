"""Kubernetes' own programs: built once from published modules by the ordinary Go client, kept outside the checkout.

A folder below `tools/` is one minor version; its `go.mod` names the programs as tools. What was built is found again
by the content of that folder, so that a fresh clone builds nothing and a new version builds everything.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

TOOLS = Path(__file__).with_name("tools")
NEWEST = "kube-1.37"
OLDEST = "kube-1.35"
BUILDS_WITHIN_S = 3600
# Debian installs it where a user without privileges does not look.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
# Every package of Kubernetes that tells its version; without it the API server calls itself v0.0.0.
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class BuildError(Exception):
    """The programs could not be built; the message says why."""


def on_path(name: str) -> str | None:
    """Where an installed program is, also one for administrators."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def go() -> str | None:
    """The Go client, from PATH or from where its own archive is unpacked."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def wanted_go(tools: str) -> str:
    """The Go version that this set of programs needs."""
    found = re.search(r"^go (\S+)$", (TOOLS / tools / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def kubernetes_version(tools: str) -> str:
    """What it is the set of, like "v1.37.2"."""
    found = re.search(
        r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", (TOOLS / tools / "go.mod").read_text(), re.MULTILINE
    )
    assert found is not None
    return found[1]


def cache() -> Path:
    """Where everything is kept that takes time to make."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mbcas" / "cluster"


def unique() -> str:
    """A suffix for what is not finished yet."""
    return f"{os.getpid()}-{threading.get_ident()}"


def folder(tools: str) -> Path:
    """Where the built programs of this set are, or would be."""
    digest = hashlib.sha256()
    for file in ("go.mod", "go.sum"):
        digest.update((TOOLS / tools / file).read_bytes())
    return cache() / f"{tools}-{digest.hexdigest()[:12]}"


def names(tools: str) -> tuple[str, ...]:
    """The programs of this set."""
    return tuple(re.findall(r"k8s\.io/kubernetes/cmd/(\S+)", (TOOLS / tools / "go.mod").read_text()))


def not_built(tools: str) -> str | None:
    """Why the programs of this set cannot be started; None: they can."""
    if all((folder(tools) / name).exists() for name in names(tools)):
        return None
    lacking = go_is_missing(tools)
    return lacking or f"Kubernetes {kubernetes_version(tools)} is not built: run `make kubernetes`"


def go_is_missing(tools: str) -> str | None:
    """Why nothing can be built; None: it can."""
    program = go()
    if program is None:
        return f"no Go, neither on PATH nor in /usr/local/go/bin: install Go {wanted_go(tools)} or newer"
    return (
        None if _can_build(program, tools) else f"{program} is older than {wanted_go(tools)} and cannot get a newer one"
    )


@functools.cache
def _can_build(program: str, tools: str) -> bool:
    # A Go that is older gets the one that go.mod wants by itself and then answers as that, unless it is too old for it.
    asked = subprocess.run(
        [program, "version"], cwd=TOOLS / tools, capture_output=True, text=True, check=False, timeout=300
    )
    found = re.search(r"go version go([\d.]+)", asked.stdout)
    return found is not None and _numbers(found[1]) >= _numbers(wanted_go(tools))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def build(tools: str) -> Path:
    """Build the set unless it is there; about ten minutes on two cores from nothing, some seconds from Go's cache.

    Raises:
        BuildError: There is no Go, or it failed.
    """
    ready = folder(tools)
    if all((ready / name).exists() for name in names(tools)):
        return ready
    if lacking := go_is_missing(tools):
        raise BuildError(lacking)
    version = kubernetes_version(tools)
    major, minor, _ = version.removeprefix("v").split(".")
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(
        [
            "-s",
            "-w",
            *(f"-X {package}.{name}={value}" for package in _VERSION_PACKAGES for name, value in stamps.items()),
        ]
    )
    ready.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, then moved there in one step: two who build at once do not meet half of it.
    with tempfile.TemporaryDirectory(prefix=f".{tools}-", dir=ready.parent) as work:
        done = subprocess.run(
            [
                str(go()),
                "build",
                "-trimpath",
                "-p",
                str(os.cpu_count() or 1),
                "-ldflags",
                flags,
                "-o",
                f"{work}/",
                "tool",
            ],
            cwd=TOOLS / tools,
            env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=BUILDS_WITHIN_S,
        )
        if done.returncode != 0:
            raise BuildError(f"go build of {tools} failed:\n{done.stderr[-3000:]}")
        ready.mkdir(exist_ok=True)
        for name in names(tools):
            Path(work, name).rename(ready / name)
    return ready
