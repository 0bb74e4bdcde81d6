"""Pictures of nodes for tests of screens, with defaults."""

from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

TAKEN_WALL_S = 1_700_000_000.0


def a_row(name: str = "worker-a", *, namespace: str = "shop", **more: object) -> WorkloadSnapshot:
    """A calm, managed workload; a test names only what it is about."""
    values: dict[str, object] = {
        "cgroup": f"/{namespace}/{name}",
        "managed": True,
        "usage_milli": 604.0,
        "usage_history_milli": (300.0, 310.0, 420.0, 500.0, 604.0),
        "throttled_ratio": 0.021,
        "throttled_periods": 3,
        "periods": 150,
        "stall_limit_ratio": 0.4,
        "stall_neighbour_ratio": 0.55,
        "stall_self_ratio": 0.05,
        "stalled_s": 0.4,
        "smoothed_milli": 590.0,
        "need_milli": 700.0,
        "forecast_milli": 640.0,
        "floor_milli": 100.0,
        "cap_milli": 4000.0,
        "limit_milli": 700.0,
        "owner_limit_milli": 500.0,
        "target_milli": 700.0,
        "utility": 0.15,
        "held_by": "need",
        "advice": "calm for 12 s",
        "last_change_milli": 40.0,
        "last_change_wall_s": TAKEN_WALL_S - 18,
        "resizes": 4,
    }
    return WorkloadSnapshot(namespace=namespace, name=name, **(values | more))  # type: ignore[arg-type]


def a_stranger(
    name: str = "dns", *, namespace: str = "kube-system", reason: str = "excluded namespace"
) -> WorkloadSnapshot:
    """A workload that is only watched."""
    return WorkloadSnapshot(
        namespace=namespace,
        name=name,
        cgroup=f"/{namespace}/{name}",
        managed=False,
        reason=reason,
        usage_milli=31.0,
        usage_history_milli=(28.0, 30.0, 31.0),
        limit_milli=100.0,
        owner_limit_milli=100.0,
    )


def a_busy_row(name: str = "worker-b", **more: object) -> WorkloadSnapshot:
    """A workload that the price holds below its need, throttled so that it is felt."""
    values: dict[str, object] = {
        "usage_milli": 812.0,
        "usage_history_milli": (110.0, 260.0, 640.0, 1000.0, 850.0, 812.0),
        "throttled_ratio": 0.142,
        "stall_limit_ratio": 0.93,
        "stall_neighbour_ratio": 0.05,
        "stall_self_ratio": 0.02,
        "stalled_s": 3.1,
        "need_milli": 1240.0,
        "limit_milli": 1000.0,
        "target_milli": 1000.0,
        "held_by": "price",
        "weight": 2.0,
        "workload_class": "latency",
        "last_change_milli": 180.0,
        "last_change_wall_s": TAKEN_WALL_S - 3,
    }
    return a_row(name, **(values | more))


def a_shop() -> tuple[WorkloadSnapshot, ...]:
    """The workloads of the sketches: one suffers, one has what it needs, noise, and one that is not managed."""
    return (
        a_row("gateway", usage_milli=121.0, throttled_ratio=0.0, need_milli=150.0, limit_milli=200.0, held_by="floor"),
        a_row("worker-a"),
        a_busy_row("worker-b"),
        a_busy_row(
            "noise-0",
            namespace="batch",
            usage_milli=1334.0,
            usage_history_milli=(1358.0,) * 60,
            throttled_ratio=0.71,
            need_milli=2000.0,
            limit_milli=1358.0,
            workload_class="batch",
            weight=1.0,
            last_change_milli=-210.0,
        ),
        a_row(
            "noise-1", namespace="batch", need_milli=900.0, limit_milli=700.0, held_by="cooldown", throttled_ratio=0.06
        ),
        a_stranger(),
    )


def a_picture(*rows: WorkloadSnapshot, **more: object) -> NodeSnapshot:
    """A congested node; without rows, one that manages nothing."""
    values: dict[str, object] = {
        "node": "node-1",
        "version": "0.1.0",
        "run_mode": "enforce",
        "taken_wall_s": TAKEN_WALL_S,
        "started_wall_s": TAKEN_WALL_S - 11_520,
        "cpu_milli": 4000.0,
        "capacity_milli": 3600.0,
        "limit_capacity_milli": 7200.0,
        "market_mode": "congested",
        "price": 0.0043,
        "need_milli": 4210.0,
        "allocated_milli": 3594.0,
        "limits_milli": 3658.0,
        "used_milli": 2871.0,
        "unmanaged_milli": 31.0,
        "raises_last_15s": 2,
        "lowers_last_15s": 1,
        "decided_wall_s": TAKEN_WALL_S - 3,
        "receipt_id": "8f31c2aa91",
        "receipt_holds": True,
        "workloads": rows,
        "counters": {"passes": 11_520.0, "failed_passes": 0.0},
    }
    return NodeSnapshot(**(values | more))  # type: ignore[arg-type]
