"""Cgroup trees of ordinary files with captured contents, and the mountinfo that leads to them."""

import shutil
from pathlib import Path

from mbcasd.sensing.tree import CgroupTree

DATA = Path(__file__).parent.parent / "data" / "kernel"

_OF_CPUACCT = {"cpuacct.usage"}
_OF_UNIFIED = {"cpu.pressure"}


class FakeTree:
    """One host's hierarchies below a directory; `kind` is "v1", "joined", "hybrid" or "v2"."""

    def __init__(self, root: Path, kind: str) -> None:
        self.kind, self.root = kind, root
        names = {
            "v1": ("cpu", "cpuacct", None),
            "joined": ("cpu,cpuacct", "cpu,cpuacct", None),
            "hybrid": ("cpu", "cpuacct", "unified"),
            "v2": ("", "", ""),
        }[kind]
        self.cpu, self.cpuacct = root / names[0], root / names[1]
        self.unified = None if names[2] is None else root / names[2]
        for directory in {self.cpu, self.cpuacct, self.unified} - {None}:
            directory.mkdir(parents=True, exist_ok=True)
        if kind == "v2":
            (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
            self.enable("/")
        self.mountinfo = root.parent / f"{root.name}.mountinfo"
        self.mountinfo.write_text(self._mountinfo())

    def _mountinfo(self) -> str:
        mounts = {
            "v1": [(self.cpu, "cgroup", "rw,cpu"), (self.cpuacct, "cgroup", "rw,cpuacct")],
            "joined": [(self.cpu, "cgroup", "rw,cpu,cpuacct")],
            "hybrid": [
                (self.cpu, "cgroup", "rw,cpu"),
                (self.cpuacct, "cgroup", "rw,cpuacct"),
                (self.unified, "cgroup2", "rw"),
                (self.root / "systemd", "cgroup", "rw,xattr,name=systemd"),
            ],
            "v2": [(self.cpu, "cgroup2", "rw,nsdelegate")],
        }[self.kind]
        return "".join(
            f"{30 + i} 29 0:{30 + i} / {_escaped(where)} rw,relatime shared:9 - {fs} {fs} {options}\n"
            for i, (where, fs, options) in enumerate(mounts)
        )

    def tree(self) -> CgroupTree:
        return CgroupTree.detect(str(self.mountinfo))

    def add(self, path: str, captured: str = "burner") -> Path:
        """Make a cgroup with the files of a captured one; returns its directory of the cpu controller."""
        source = DATA / ("6.1-v2" if self.kind == "v2" else "6.18-v1") / captured
        for directory in self._directories(path):
            directory.mkdir(parents=True, exist_ok=True)
        for file in (file for file in source.iterdir() if file.is_file()):
            home = self.cpu
            if file.name in _OF_CPUACCT:
                home = self.cpuacct
            elif file.name in _OF_UNIFIED:
                home = self.unified
            if home is not None:
                shutil.copy(file, home / path.strip("/") / file.name)
        if self.unified is not None:
            (self.unified / path.strip("/") / "cgroup.events").write_text("populated 1\nfrozen 0\n")
        if self.kind == "v2":
            (self.cpu / path.strip("/") / "cgroup.subtree_control").write_text("\n")
        return self.cpu / path.strip("/")

    def enable(self, path: str) -> None:
        """v2: switch the cpu controller on for the children."""
        (self.cpu / path.strip("/") / "cgroup.subtree_control").write_text("cpu memory\n")

    def remove(self, path: str) -> None:
        for directory in self._directories(path):
            shutil.rmtree(directory)

    def recreate(self, path: str, captured: str = "idle") -> None:
        """Another cgroup takes the name; the old one is kept aside, so that its inode is not handed out again."""
        for directory in self._directories(path):
            directory.rename(self.root.parent / f"old-{directory.parent.name}-{directory.name}")
        self.add(path, captured)

    def _directories(self, path: str) -> set[Path]:
        homes = {self.cpu, self.cpuacct} | ({self.unified} if self.unified is not None else set())
        return {home / path.strip("/") for home in homes}


def _escaped(path: Path) -> str:
    """As mountinfo writes it."""
    return str(path).replace(" ", "\\040")
