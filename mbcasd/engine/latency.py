"""What users see: latencies are taken in, and move how much throttling a workload may bear."""

from collections.abc import Mapping
from dataclasses import replace

from mbcasd.engine.state import EngineState, Track
from mbcasd.estimation.law import LawSettings
from mbcasd.estimation.target import target_ratio
from mbcasd.guarding import slo
from mbcasd.model.decision import Event
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading


def take_readings(state: EngineState, readings: Mapping[WorkloadId, LatencyReading]) -> EngineState:
    """Take note of what the sources say; of workloads that nobody manages nothing is kept."""
    guard = state.config.settings.guardrail
    if not guard.enabled:
        return state
    tracks = dict(state.tracks)
    for name, reading in readings.items():
        track = tracks.get(name)
        if track is not None and track.workload.managed:
            objective = slo.objective_s(track.workload.contract, guard)
            pulse = state.pulses.get(name)
            counted = (pulse.sample.periods, pulse.sample.throttled_periods) if pulse is not None else None
            tracks[name] = replace(track, slo=slo.take(track.slo, reading, objective, counted, guard))
    return replace(state, tracks=tracks)


def guard_latency(state: EngineState, now_s: float) -> tuple[EngineState, list[Event]]:
    """Let the last readings move the leniencys; part of the guardrail's loop."""
    guard = state.config.settings.guardrail
    tracks: dict[WorkloadId, Track] = {}
    events: list[Event] = []
    for name, track in state.tracks.items():
        if track.slo is None or not track.in_market:
            continue
        objective = slo.objective_s(track.workload.contract, guard)
        decided, verdict = slo.decide(track.slo, objective, _target_ratio(state, track), guard, now_s)
        if decided == track.slo:
            continue
        if verdict is not None and (decided.leniency, decided.is_violated) != (
            track.slo.leniency,
            track.slo.is_violated,
        ):
            message = _message(name, decided, verdict, objective)
            kind = "violation" if verdict is slo.Verdict.VIOLATED else "slo"
            events.append(Event(at_s=now_s, kind=kind, workload=name, message=message))
        situation = track.situation._replace(leniency=decided.leniency)
        tracks[name] = replace(track, slo=decided, situation=situation)
    return (replace(state, tracks={**state.tracks, **tracks}) if tracks else state), events


def _target_ratio(state: EngineState, track: Track) -> float:
    settings = state.config.settings
    workload_class = track.workload.contract.workload_class
    return target_ratio(LawSettings(settings.demand, settings.cost, state.config.preset, workload_class))


def _message(name: WorkloadId, decided: slo.Slo, verdict: slo.Verdict, objective: float | None) -> str:
    reading = decided.reading
    seen = f"{name} is too slow" if reading.violated else f"{name} keeps its objective"
    if reading.p99_s is not None and objective is not None:
        seen = f"{name} has a p99 of {reading.p99_s * 1000:.0f} ms, {objective * 1000:.0f} ms are expected"
    seen += f" ({reading.source.value})"
    if verdict is slo.Verdict.KEPT:
        return f"{seen}: kept again"
    borne = f"it may bear {decided.leniency:.2g} times its usual throttling"
    if verdict is slo.Verdict.EASY:
        return f"{seen}: {borne}"
    if not slo.may_help(decided):
        return f"{seen}, but it was not throttled, so more CPU would not help; it is not lowered for a while"
    return f"{seen}: {borne}, and is not lowered for a while"
