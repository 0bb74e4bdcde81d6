"""Workloads and settings for the tests of sources, with defaults."""

from mbcasd.model.decision import Workload
from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.identity import CgroupRef, WorkloadId

WEB = WorkloadId("shop", "web")
API = WorkloadId("shop", "api")


def a_workload(
    slo_p99_s: float | None = 0.1, *, managed: bool = True, workload_class: WorkloadClass = WorkloadClass.STANDARD
) -> Workload:
    return Workload(
        cgroup=CgroupRef(path="/shop/web", inode=1),
        contract=Contract(floor_milli=100, cap_milli=1000, slo_p99_s=slo_p99_s, workload_class=workload_class),
        managed=managed,
        unmanaged_reason="" if managed else "excluded",
    )
