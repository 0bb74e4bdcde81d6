"""A cgroup tree of ordinary files that hold limits; the kernel's own rules are tried in the kernel tier."""

import shutil
from pathlib import Path

from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupMounts, CgroupVersion
from mbcasd.model.readings import LimitReading


class LimitTree:
    """Makes, reads and rewrites cgroups as their owner, or a stranger, would."""

    def __init__(self, root: Path, version: CgroupVersion = CgroupVersion.V1) -> None:
        self.root, self.version = root, version
        root.mkdir(parents=True, exist_ok=True)
        self.mounts = CgroupMounts(version=version, cpu=str(root), cpuacct=str(root))

    def make(self, path: str, *, quota: int | None = None, period: int = 100_000, burst: int | None = 0) -> CgroupRef:
        """A cgroup; quota None is unlimited, burst None is a kernel without it."""
        self.directory(path).mkdir(parents=True)
        self.write(path, quota=quota, period=period, burst=burst)
        return self.ref(path)

    def write(self, path: str, *, quota: int | None, period: int = 100_000, burst: int | None = 0) -> None:
        """What the owner or a stranger does."""
        here = self.directory(path)
        if self.version is CgroupVersion.V2:
            (here / "cpu.max").write_text(f"{'max' if quota is None else quota} {period}\n")
            (here / "cpu.weight").write_text("100\n")
        else:
            (here / "cpu.cfs_quota_us").write_text(f"{-1 if quota is None else quota}\n")
            (here / "cpu.cfs_period_us").write_text(f"{period}\n")
            (here / "cpu.shares").write_text("1024\n")
        if burst is not None:
            self.burst_file(path).write_text(f"{burst}\n")

    def recreate(self, path: str, *, quota: int | None = None, burst: int | None = 0) -> CgroupRef:
        """Another cgroup under the same name; both exist for a moment, so that the inode is another one."""
        fresh = path + "-fresh"
        self.make(fresh, quota=quota, burst=burst)
        shutil.rmtree(self.directory(path))
        self.directory(fresh).rename(self.directory(path))
        return self.ref(path)

    def remove(self, path: str) -> None:
        shutil.rmtree(self.directory(path))

    def ref(self, path: str) -> CgroupRef:
        return CgroupRef(path=path, inode=self.directory(path).stat().st_ino)

    def directory(self, path: str) -> Path:
        return self.root / path.strip("/")

    def quota_file(self, path: str) -> Path:
        return self.directory(path) / ("cpu.max" if self.version is CgroupVersion.V2 else "cpu.cfs_quota_us")

    def burst_file(self, path: str) -> Path:
        return self.directory(path) / ("cpu.max.burst" if self.version is CgroupVersion.V2 else "cpu.cfs_burst_us")

    def limit(self, path: str) -> tuple[int | None, int, int | None]:
        """Quota, period, burst."""
        here = self.directory(path)
        if self.version is CgroupVersion.V2:
            quota, period = (here / "cpu.max").read_text().split()
        else:
            quota, period = (here / "cpu.cfs_quota_us").read_text(), (here / "cpu.cfs_period_us").read_text()
        burst = self.burst_file(path)
        return (
            None if quota.strip() in {"max", "-1"} else int(quota),
            int(period),
            int(burst.read_text()) if burst.exists() else None,
        )

    def reading(self, path: str) -> LimitReading:
        quota, period, burst = self.limit(path)
        return LimitReading(quota_usec=quota, period_usec=period, burst_usec=burst)
