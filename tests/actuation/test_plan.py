"""From targets to resizes: differences only, decreases first, never above the bound."""

from hypothesis import given
from hypothesis import strategies as st

from mbcasd.actuation.plan import Change, Planned, plan
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.settings import MarketSettings


def a_change(
    name: str = "web",
    limit: float | None = 500,
    target: float = 500,
    *,
    effective: float | None = None,
    pending: bool = False,
    urgent: bool = False,
) -> Change:
    at_least = limit if limit is not None else 4000
    return Change(
        WorkloadId("test", name),
        CgroupRef(path=f"/test/{name}", inode=1),
        limit,
        effective if effective is not None else at_least,
        target,
        pending,
        urgent,
    )


def planned(*changes: Change, bound: float = 4000, lower_all: bool = True) -> Planned:
    return plan(changes, bound, MarketSettings(), burst=False, lower_all=lower_all)


def test_what_is_as_it_should_be_is_not_written() -> None:
    assert not planned(a_change()).plan


def test_small_differences_are_not_worth_a_write() -> None:
    # Up 5 %, down 10 % of 500m.
    assert not planned(a_change(target=520)).plan
    assert not planned(a_change(target=460)).plan
    assert planned(a_change(target=530)).plan.increases
    assert planned(a_change(target=450)).plan.decreases


def test_a_decrease_within_the_dead_band_happens_when_somebody_needs_the_room() -> None:
    both = (a_change("a", 960, 940), a_change("b", 100, 160, urgent=True))

    # 1060 are used, b wants 60 more, the bound leaves 40: a gives 20.
    first = planned(*both, bound=1100)

    assert [resize.workload.name for resize in first.plan.decreases] == ["a"]
    assert first.waiting
    assert not planned(*both, bound=2000).plan.decreases


def test_an_increase_waits_until_the_decrease_that_frees_its_room_is_confirmed() -> None:
    first = planned(a_change("a", 900, 500), a_change("b", 100, 500), bound=1000)
    assert [len(first.plan.decreases), len(first.plan.increases), first.waiting] == [1, 0, True]

    then = planned(a_change("a", 500, 500), a_change("b", 100, 500), bound=1000)
    assert [len(then.plan.decreases), len(then.plan.increases), then.waiting] == [0, 1, False]


def test_what_is_on_its_way_counts_with_the_larger_of_both_limits() -> None:
    # a goes from 900 to 500, but that is not confirmed: its 900 still count.
    pending = a_change("a", 900, 900, effective=900, pending=True)

    assert planned(pending, a_change("b", 100, 200), bound=1000).waiting


def test_who_stalls_goes_first() -> None:
    calm, stalled = a_change("a", 100, 200), a_change("b", 100, 200, urgent=True)

    assert [r.workload.name for r in planned(calm, stalled, bound=300).plan.increases] == ["b"]


def test_between_two_passes_of_the_optimizer_nothing_is_lowered_without_need() -> None:
    assert not planned(a_change(target=200), lower_all=False).plan
    assert planned(a_change(target=200), lower_all=True).plan.decreases


def test_an_unlimited_workload_gets_its_first_limit() -> None:
    only = planned(a_change(limit=None, target=2000)).plan.decreases[0]

    assert (only.from_milli, only.to_milli) == (None, 2000)


@given(
    st.lists(
        st.tuples(st.floats(10, 2000), st.floats(10, 2000), st.booleans(), st.booleans()), min_size=1, max_size=20
    ),
    st.floats(100, 20_000),
)
def test_the_bound_holds_whatever_subset_of_the_plan_has_been_applied(
    rows: list[tuple[float, float, bool, bool]], bound: float
) -> None:
    changes = [
        a_change(f"w{i}", limit, target, pending=pending, urgent=urgent)
        for i, (limit, target, pending, urgent) in enumerate(rows)
    ]
    began = sum(change.effective_milli for change in changes)

    result = planned(*changes, bound=bound).plan

    # The worst moment: all increases are in force, none of the decreases.
    worst = began + sum((r.to_milli or 0) - (r.from_milli or 0) for r in result.increases)
    assert worst <= max(bound, began) + 1e-3
