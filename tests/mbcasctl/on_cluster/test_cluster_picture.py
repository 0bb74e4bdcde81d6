import io
from dataclasses import replace

import msgspec
import pytest
from cluster_objects import a_condition, an_allocation
from golden import check_golden
from msgspec.structs import replace as changed
from pictures import a_busy_row, a_picture, a_row, a_shop
from rich.console import Console

from mbcasctl.cluster.agents import AgentAnswer
from mbcasctl.cluster.picture import AgentStatus, ClusterStatus
from mbcasctl.cluster.readiness import Readiness
from mbcasctl.sources.cluster import merge
from mbcasctl.views.cluster_status import screen
from mbcasctl.views.text import ASCII, UNICODE
from mbcasctl.views.top import NO_WORKLOAD_IN_CLUSTER, TopState, lines

NOW_WALL_S = 1_700_000_030.0


def an_answer(node: str, *rows, **more) -> AgentAnswer:
    return AgentAnswer(node=node, pod=f"mbcas-agent-{node}", snapshot=a_picture(*rows, node=node, **more))


def a_silent(node: str) -> AgentAnswer:
    return AgentAnswer(node=node, pod=f"mbcas-agent-{node}", snapshot=None, trouble="it does not run yet")


def drawn(width: int, picture, **more) -> str:
    shown = lines(picture, width, None, TopState(), advice=NO_WORKLOAD_IN_CLUSTER, **more)
    return "\n".join(line.plain.rstrip() for line in shown.lines) + "\n"


def long_names(*rows):
    return [changed(row, name=f"{row.name}-7d9f8b6c5-x2x1z", container="app") for row in rows]


def test_figures_of_nodes_are_added_up_and_the_worst_market_is_shown() -> None:
    calm = an_answer("node-2", a_row("calm"), market_mode="uncongested", price=0.0, need_milli=100.0, used_milli=50.0)
    picture = merge([an_answer("node-1", *a_shop()), calm], [], None, NOW_WALL_S)

    assert (picture.need_milli, picture.used_milli, picture.cpu_milli) == (4310.0, 2921.0, 8000.0)
    assert (picture.market_mode, picture.price, picture.node) == ("congested", 0.0043, "2 nodes")
    assert {row.node for row in picture.workloads} == {"node-1", "node-2"}


def test_a_silent_agents_pods_are_shown_from_what_the_api_server_has() -> None:
    allocations = [an_allocation("web", node="node-2"), an_allocation("seen", node="node-1")]
    picture = merge([an_answer("node-1", a_row("seen")), a_silent("node-2")], allocations, None, NOW_WALL_S)

    assert [(row.name, row.node) for row in picture.workloads] == [("seen", "node-1"), ("web", "node-2")]
    web = picture.workloads[1]
    assert (web.limit_milli, web.owner_limit_milli, web.target_milli) == (500, 200, 500)
    assert picture.problems[0].startswith("node-2: its agent mbcas-agent-node-2 is silent (it does not run yet)")


def test_unknown_figures_are_null_as_data_and_a_dash_on_the_screen() -> None:
    picture = merge([a_silent("node-1")], [an_allocation()], None, NOW_WALL_S)

    assert msgspec.json.decode(msgspec.json.encode(picture))["workloads"][0]["usage_milli"] is None
    assert "nan" not in drawn(160, picture)


@pytest.mark.parametrize(
    ("more", "held_by"),
    [
        ({}, "need"),
        ({"phase": "Pending"}, "pending"),
        ({"phase": "Failed", "conditions": (a_condition("Conflict"),)}, "owner"),
    ],
)
def test_what_holds_a_pod_is_read_off_its_status(more, held_by) -> None:
    (row,) = merge([], [an_allocation(**more)], None, NOW_WALL_S).workloads

    assert row.held_by == held_by


def test_a_namespace_narrows_to_its_workloads() -> None:
    picture = merge([an_answer("node-1", *a_shop())], [], "batch", NOW_WALL_S)

    assert {row.namespace for row in picture.workloads} == {"batch"}
    assert picture.node == "node-1, batch"


def test_one_node_needs_no_column_for_it() -> None:
    assert "NODE" not in drawn(120, merge([an_answer("node-1", *a_shop())], [], None, NOW_WALL_S))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_cluster_of_this_width_looks_like_this(width: int) -> None:
    answers = [an_answer("node-1", *long_names(*a_shop())), an_answer("worker-node-2", *long_names(a_busy_row("api")))]
    picture = merge(answers, [], None, NOW_WALL_S)

    check_golden(f"top_cluster_{width}.txt", drawn(width, picture))


def test_where_nothing_is_managed_the_way_to_do_it_is_shown() -> None:
    shown = drawn(80, merge([], [], None, NOW_WALL_S))

    assert "kubectl label namespace NAME mbcas.io/managed=true" in shown
    assert "mbcasd local" not in shown


def a_status(**more) -> ClusterStatus:
    agent = AgentStatus(
        node="node-1", pod="mbcas-agent-1", ready=True, version="0.1.0", run_mode="enforce", market_mode="congested",
        price=0.0043, need_milli=4210.0, given_milli=3594.0, capacity_milli=3600.0, managed=5, unmanaged=1,
    )  # fmt: skip
    silent = AgentStatus(node="node-2", pod="mbcas-agent-2", ready=False, trouble="image mbcas:9 cannot be pulled")
    values = {
        "healthy": False,
        "problems": ("1 of 2 agents are not ready", "mbcas-agent-2: image mbcas:9 cannot be pulled: no such host"),
        "notes": ("node-1: it has not looked at its node for 60 s, or its clock is wrong",),
        "place": "https://127.0.0.1:6443",
        "kubernetes": "v1.37.2",
        "installed": True,
        "version": "0.1.0",
        "mode": "enforce",
        "readiness": Readiness(
            agents_ready=1, agents_wanted=2, controllers_ready=2, controllers_wanted=2, settled=True
        ),
        "leader": "mbcas-controller-c955d5697-xm6t6",
        "lease_age_s": 1.4,
        "agents": (agent, silent),
        "namespaces": ("shop", "batch"),
        "phases": {"Applied": 12, "Pending": 1, "Failed": 1},
        "reasons": {"QuotaExceeded": 1},
        "original_milli": 2400,
        "wanted_milli": 5200,
    }
    return ClusterStatus(**(values | more))


def shown(status: ClusterStatus, glyphs=UNICODE, **more) -> str:
    output = io.StringIO()
    Console(file=output, width=200 if more.get("wide") else 80).print(screen(status, glyphs, **more), soft_wrap=True)
    return "\n".join(line.rstrip() for line in output.getvalue().split("\n"))


def test_a_cluster_in_trouble_looks_like_this() -> None:
    check_golden("status_cluster.txt", shown(a_status()))


def test_a_healthy_cluster_says_so() -> None:
    well = a_status(healthy=True, problems=(), notes=(), agents=a_status().agents[:1])

    assert shown(well).endswith("✓ healthy\n")
    assert "mbcas-agent-1" in shown(well, wide=True)


def test_a_cluster_without_mbcas_says_how_to_get_it() -> None:
    bare = ClusterStatus(
        healthy=False, problems=("MBCAS is not installed: mbcasctl install",), notes=(), place="https://h:6443",
        kubernetes="v1.37.2", installed=False,
    )  # fmt: skip

    assert shown(bare).split("\n")[0] == "MBCAS on https://h:6443  not installed, Kubernetes v1.37.2"


def test_of_many_nodes_those_in_trouble_come_first() -> None:
    well, silent = a_status().agents
    many = tuple(replace(well, node=f"node-{at:03}") for at in range(100))
    text = shown(a_status(agents=(*many, silent)))

    assert text.index("node-2 ") < text.index("node-000")
    assert "and 61 more nodes" in text


def test_ascii_terminals_and_hostile_names_are_safe() -> None:
    text = shown(a_status(leader="\x1b[2Jevil", place="https://ö"), ASCII)

    assert text.replace("\n", "").isprintable()
    assert text.isascii()
