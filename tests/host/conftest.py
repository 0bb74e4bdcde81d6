import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limit_tree import LimitTree

from mbcasd.host.ledger import Ledger
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.resizing import Resize


@pytest.fixture(params=list(CgroupVersion), ids=lambda version: version.value)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> LimitTree:
    return LimitTree(tmp_path / "cgroup", request.param)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "state")
    yield ledger
    ledger.close()


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Give up root's rights until the test ends: root may write what nobody may write."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.owner() == "root" and os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o011)

    def become() -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)

    yield become
    if os.getuid() == 0:
        os.seteuid(0)


@pytest.fixture
def a_resize() -> Callable[..., Resize]:
    def make(
        cgroup: CgroupRef, to_milli: float | None, *, burst: bool = False, from_milli: float | None = 1000
    ) -> Resize:
        workload = WorkloadId("demo", cgroup.path.rsplit("/", 1)[-1])
        return Resize(workload=workload, cgroup=cgroup, from_milli=from_milli, to_milli=to_milli, burst=burst)

    return make
