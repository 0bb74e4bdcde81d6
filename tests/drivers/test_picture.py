"""The picture is true of every moment, whatever of the one before it could be used again."""

from fakes.node import FakeNode, FakeWorkload

from mbcasd.drivers.picture import Painter
from mbcasd.model.decision import Decision
from mbcasd.model.snapshot import NodeSnapshot


def paint(painter: Painter, node: FakeNode) -> NodeSnapshot:
    return painter.paint(node.state, node.now_s, node.now_s, problems=(), counters={}, quota_leak_ratio=0.0)


def new_decisions(node: FakeNode, since: int) -> list[Decision]:
    return [decision for _, decision in node.decisions[since:]]


def test_rows_that_are_used_again_say_what_rows_that_are_made_anew_say() -> None:
    wakes_up = FakeWorkload(lambda now_s: 250 if now_s > 20 else 0, limit_milli=100)
    node = FakeNode({"calm": wakes_up, "web": FakeWorkload(lambda now_s: 200 + now_s, limit_milli=300)})
    kept, told = Painter("n", 0.0), 0
    for second in range(40):
        node.run(1.0)
        fresh = Painter("n", 0.0)
        for decision in new_decisions(node, told):
            kept.note_decision(decision, node.now_s)
        told = len(node.decisions)
        for _, decision in node.decisions:
            fresh.note_decision(decision, node.now_s)

        rows = paint(kept, node).workloads
        # What counts from when a painter first saw a workload is a painter's own.
        own = {"periods", "throttled_periods"}
        for row, other in zip(rows, paint(fresh, node).workloads, strict=True):
            for name in set(row.__struct_fields__) - own:
                assert getattr(row, name) == getattr(other, name), (second, row.name, name)
    assert rows[0].usage_milli > 100


def test_a_calm_workloads_history_goes_on() -> None:
    node = FakeNode({"calm": FakeWorkload(lambda _: 0, limit_milli=100)})
    painter = Painter("n", 0.0)
    told, lengths = 0, []
    for _ in range(10):
        node.run(1.0)
        for decision in new_decisions(node, told):
            painter.note_decision(decision, node.now_s)
        told = len(node.decisions)
        lengths.append(len(paint(painter, node).workloads[0].usage_history_milli))

    assert lengths == sorted(lengths)
    assert lengths[-1] >= 9
