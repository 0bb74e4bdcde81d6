import io
from dataclasses import replace

import pytest
from cluster_objects import a_condition
from golden import check_golden
from pictures import a_busy_row, a_picture
from rich.cells import cell_len
from rich.console import Console

from mbcasctl.cluster.explaining import AllocationStory, ClusterExplanation, ContainerStory, Told
from mbcasctl.cluster.readiness import Readiness
from mbcasctl.cluster.removing import Removal
from mbcasctl.cluster.restoring import RestoreReport
from mbcasctl.explaining.explanation import explain
from mbcasctl.views import cluster_explain, installation, removal, restored_pods
from mbcasctl.views.text import ASCII
from mbcasd.kube.install import Change, Changed
from mbcasd.kube.restore import RestoredContainer, RestoredPod, RestoreResult
from mbcasd.model.identity import WorkloadId

NOW_S = 1_700_000_000.0
READY = Readiness(agents_ready=2, agents_wanted=2, controllers_ready=2, controllers_wanted=2, settled=True)


def shown(what) -> str:
    output = io.StringIO()
    Console(file=output, width=80, highlight=False).print(what)
    return "\n".join(line.rstrip() for line in output.getvalue().split("\n"))


def a_change(name: str, change: Change = Change.CREATED, *, kind: str = "ConfigMap", note: str = "") -> Changed:
    return Changed(kind=kind, namespace="mbcas-system", name=name, change=change, note=note)


def a_pod(name: str, result: RestoreResult, detail: str = "", *, found: float | None = 500) -> RestoredPod:
    containers = (
        () if result in {RestoreResult.GONE, RestoreResult.AS_OWNED} else (RestoredContainer("app", found, 200),)
    )
    return RestoredPod(
        namespace="shop", pod=name, node="node-1", result=result, containers=containers, detail=detail
    )  # fmt: skip


EVERYTHING = RestoreReport(
    pods=(
        a_pod("web-7d9f8b6c5-x2x1z", RestoreResult.RESTORED),
        a_pod("calm", RestoreResult.AS_OWNED),
        a_pod("late", RestoreResult.ACCEPTED, "the kubelet has not put it in force yet: no room"),
        a_pod("theirs", RestoreResult.LEFT_ALONE, "somebody else has set app to 333m since; left as it is", found=333),
        a_pod("gone", RestoreResult.GONE, "it has ended"),
        a_pod("bad", RestoreResult.FAILED, "minimum cpu usage per Container is 300m, but limit is 200m"),
    ),
    stopped_replicas=2,
)


def test_every_pod_that_was_put_back_looks_like_this() -> None:
    check_golden("restored_pods.txt", shown(restored_pods.as_text(EVERYTHING)))


def test_pods_are_data_too() -> None:
    data = restored_pods.as_data(EVERYTHING)

    assert data["all_as_owned"] is False
    assert data["pods"][0] == {
        "namespace": "shop", "pod": "web-7d9f8b6c5-x2x1z", "node": "node-1", "result": "restored",
        "containers": [{"name": "app", "found_limit_milli": 500, "owner_limit_milli": 200}], "detail": "",
    }  # fmt: skip


def test_a_removal_that_stopped_says_what_stands_and_how_to_go_on() -> None:
    stopped = Removal(restored=EVERYTHING, stopped_early=True)

    assert not stopped.is_good
    check_golden("uninstall_stopped.txt", shown(removal.as_text(stopped)))


def test_a_removal_that_is_done_says_that_labels_are_the_owners() -> None:
    done = Removal(restored=RestoreReport(), removed=(a_change("x", Change.REMOVED),), labelled=tuple("abcdefg"))

    assert done.is_good
    assert shown(removal.as_text(done)).splitlines() == [
        "Nothing of MBCAS is left on this cluster.",
        "Your label mbcas.io/managed stays on: a, b, c, d, e and 2 more",
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"dry_run": True}, "Nothing was changed."),
        ({"left": ("namespace/mbcas-system",)}, "MBCAS is removed, but some objects are not gone yet"),
        ({"removed": ()}, "There was nothing of MBCAS to remove."),
    ],
)
def test_a_removal_ends_with_what_is_so(more: dict, says: str) -> None:
    found = Removal(**({"restored": RestoreReport(), "removed": (a_change("x", Change.REMOVED),)} | more))

    assert says in shown(removal.as_text(found))


def test_an_installation_that_runs_says_what_to_do_next() -> None:
    check_golden("install_observe.txt", shown(installation.ending([], READY, mode="observe", dry_run=False)))
    enforcing = shown(installation.ending([], READY, mode="enforce", dry_run=False))
    assert "--mode enforce" not in enforcing
    unwaited = shown(installation.ending([], None, mode="observe", dry_run=False))
    assert "mbcasctl status" in unwaited


def test_an_installation_that_does_not_run_yet_does_not_claim_to() -> None:
    waiting = replace(READY, controllers_ready=0)

    assert "does not run completely yet" in shown(installation.ending([], waiting, mode="observe", dry_run=False))
    assert installation.progress(waiting) == "agents 2 of 2, controllers 0 of 2 ready"
    rolling = replace(READY, settled=False)
    assert installation.progress(rolling).endswith("ready, the change is still being rolled out")


def test_where_no_node_takes_agents_it_is_said() -> None:
    nobody = replace(READY, agents_ready=0, agents_wanted=0)

    assert "No node takes an agent" in shown(installation.ending([], nobody, mode="observe", dry_run=False))


def test_changes_are_summed_up_in_a_line() -> None:
    changes = [a_change("a"), a_change("b", Change.UNCHANGED), a_change("c", Change.UNCHANGED)]

    assert installation.summary_of(changes) == "3 objects: 1 created, 2 unchanged"
    assert installation.summary_of(changes[:1], dry_run=True).endswith("(dry run: nothing was stored)")
    assert installation.summary_of([]) == "0 objects: nothing to do"


def a_story(**more) -> AllocationStory:
    values = {
        "name": "worker-b.1a2b3c4d",
        "phase": "Failed",
        "reason": "QuotaExceeded",
        "decided_for": "app: price",
        "decided_wall_s": NOW_S - 3,
        "applied_wall_s": NOW_S - 90,
        "recommend_only": False,
        "released": False,
        "containers": (
            ContainerStory(
                name="app", owner_limit_milli=500, owner_request_milli=100, decided_limit_milli=1000,
                decided_request_milli=None, set_limit_milli=820,
            ),
        ),
        "conditions": (a_condition("ResizePending", "exceeded quota: q, requested: limits.cpu=500m"),),
    }  # fmt: skip
    return AllocationStory(**(values | more))


def an_explanation(**more) -> ClusterExplanation:
    picture = a_picture(a_busy_row("worker-b"))
    who = WorkloadId("shop", "worker-b", "")
    values = {
        "pod": "shop/worker-b",
        "node": "node-1",
        "now_wall_s": NOW_S,
        "explanations": (explain(picture, who, place="the agent", missing=("what came before",)),),
        "allocation": a_story(),
        "events": (Told(wall_s=NOW_S - 90, reason="Resized", note="in force: app 820m", count=3),),
        "missing": (),
    }
    return ClusterExplanation(**(values | more))


def test_an_explanation_on_a_cluster_looks_like_this() -> None:
    check_golden("explain_cluster.txt", cluster_explain.as_text(an_explanation(), 80).plain + "\n")


def test_a_silent_agent_leaves_what_the_api_server_knows() -> None:
    text = cluster_explain.as_text(an_explanation(explanations=(), missing=("what its use is: silent",)), 80).plain

    assert text.splitlines()[0] == "shop/worker-b on node-1"
    assert "Not known: what its use is: silent" in text


def test_a_pod_without_allocation_was_never_touched() -> None:
    text = cluster_explain.as_text(an_explanation(allocation=None, events=()), 80).plain

    assert "No PodAllocation: nothing was decided for it, and MBCAS has moved nothing." in text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"recommend_only": True}, "only a recommendation"),
        ({"released": True}, "the owner's values go back"),
        ({"reason": "ChangedByOther"}, "somebody else resized the pod"),
        ({"reason": "SomethingNew"}, "result    SomethingNew"),
    ],
)
def test_what_is_particular_about_it_is_said(more: dict, says: str) -> None:
    assert says in cluster_explain.as_text(an_explanation(allocation=a_story(**more)), 80).plain


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_hostile_words_stay_words(width: int) -> None:
    hostile = an_explanation(allocation=a_story(decided_for="\x1b[2J" + "x " * 200, name="é" * 100))
    for line in cluster_explain.as_text(hostile, width, ASCII).plain.splitlines():
        assert cell_len(line) <= width
        assert line.isascii()
        assert line.isprintable()


def test_it_is_data_too() -> None:
    data = cluster_explain.as_data(an_explanation())

    assert data["allocation"].reason == "QuotaExceeded"
    assert data["containers"][0]["name"] == "shop/worker-b"
