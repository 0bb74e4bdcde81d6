import pytest
from knowing import API, WEB, a_workload

from mbcasd.clock import SteppedClock
from mbcasd.errors import BrokenInput, NoSuchWorkload
from mbcasd.latency.push import Push
from mbcasd.model.demand import WorkloadClass
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind, SloReport
from mbcasd.settings import GuardrailSettings

POD = WorkloadId("shop", "web-1", "app")


def a_push(*names: WorkloadId, clock: SteppedClock | None = None, **more: object) -> Push:
    push = Push(GuardrailSettings(), clock or SteppedClock(now_s=5.0))
    push.watch({name: a_workload(**more) for name in names or (WEB,)})  # type: ignore[arg-type]
    return push


def test_a_report_is_a_reading_of_now() -> None:
    push = a_push()

    push.take(SloReport(workload="shop/web", p99_s=0.12))

    assert push.collect() == {WEB: LatencyReading(5.0, LatencySourceKind.PUSH, 0.12, None)}
    assert push.collect() == {}


def test_the_last_word_counts() -> None:
    push = a_push()

    push.take(SloReport(workload="shop/web", p99_s=0.12))
    push.take(SloReport(workload="shop/web", violated=True))

    assert push.collect()[WEB].violated is True


@pytest.mark.parametrize("name", ["shop/web-1:app", "shop/web-1", "web-1"])
def test_a_pod_may_leave_out_what_is_plain(name: str) -> None:
    push = a_push(POD, WEB)

    push.take(SloReport(workload=name, p99_s=0.1))

    assert set(push.collect()) == {POD}


def test_a_name_that_means_several_is_refused_with_all_of_them() -> None:
    push = a_push(POD, POD._replace(container="sidecar"))

    with pytest.raises(BrokenInput, match="means 2 workloads: shop/web-1:app, shop/web-1:sidecar"):
        push.take(SloReport(workload="shop/web-1", p99_s=0.1))


def test_a_name_that_nobody_has_is_refused_as_such() -> None:
    with pytest.raises(NoSuchWorkload, match=r"no workload 'shop/wbe' here; `mbcasctl top`"):
        a_push().take(SloReport(workload="shop/wbe", p99_s=0.1))


def test_who_is_not_managed_is_refused_with_the_reason() -> None:
    with pytest.raises(NoSuchWorkload, match="not managed: excluded"):
        a_push(managed=False).take(SloReport(workload="shop/web", p99_s=0.1))


def test_batch_work_without_an_objective_is_told_what_is_missing() -> None:
    push = a_push(slo_p99_s=None, workload_class=WorkloadClass.BATCH)

    with pytest.raises(BrokenInput, match="slo_p99"):
        push.take(SloReport(workload="shop/web", p99_s=0.1))

    push.take(SloReport(workload="shop/web", violated=True))


def test_with_the_guardrail_off_a_report_is_refused() -> None:
    push = a_push()
    push.reconfigure(GuardrailSettings(enabled=False))

    with pytest.raises(BrokenInput, match=r"guardrail\.enabled"):
        push.take(SloReport(workload="shop/web", p99_s=0.1))


def test_who_speaks_is_not_asked_for_until_it_falls_silent() -> None:
    clock = SteppedClock()
    push = a_push(WEB, API, clock=clock)
    push.take(SloReport(workload="shop/web", p99_s=0.1))

    assert push.telling() == {WEB}
    clock.advance(61)
    assert push.telling() == frozenset()


def test_who_is_gone_is_forgotten() -> None:
    push = a_push()
    push.take(SloReport(workload="shop/web", p99_s=0.1))

    push.watch({API: a_workload()})

    assert push.collect() == {}
    assert push.telling() == frozenset()
