"""What was seen and decided, turned into rows: packed, without repetition, and without touching the disk.

Runs on the writer's thread. Remembers what it drafted last, so that levels that did not change and workloads
that did nothing cost no row.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from mbcasd.accounting import packing, receipts
from mbcasd.model.decision import Decision, Event, Observation, Receipt, Workload
from mbcasd.model.demand import Demand
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading, NodeReading
from mbcasd.model.resizing import ResizeOutcome

# Receipts of 100 bids shrink from 22 kB to 3 kB at 0.3 ms; higher levels gain little and cost much.
_COMPRESSION = 1
# A demand is worth a row when one of its figures moved by more than what `top` shows.
_SAME_MILLI = 0.5
_SAME_RATIO = 0.0005


class Draft(NamedTuple):
    """One row that is to be written."""

    table: str
    at_s: float
    wall_s: float
    who: WorkloadId | None
    values: tuple[object, ...]


class Drafter:
    """Makes rows of observations, decisions, receipts and events."""

    def __init__(self) -> None:
        self._second = 0
        self._ahead_s = 0.0  # wall time less monotonic time, in that second
        self._gathered: dict[WorkloadId, list[CpuSample]] = {}
        self._written: dict[WorkloadId, CpuSample] = {}  # the last sample that is in a row
        self._skipped: dict[WorkloadId, CpuSample] = {}  # the last one that was not worth a row
        self._demands: dict[WorkloadId, Demand] = {}
        self._limits: dict[WorkloadId, LimitReading] = {}
        self._workloads: dict[WorkloadId, Workload] = {}
        self._node: NodeReading | None = None

    def forget(self) -> None:
        """Draft everything again at the next opportunity: rows were lost, or the file is a new one."""
        self._written.clear()
        self._demands.clear()
        self._limits.clear()
        self._workloads.clear()
        self._node = None

    def observation(self, seen: Observation, now_s: float, ahead_s: float) -> Iterable[Draft]:
        """Draft what was seen; `ahead_s` is wall time less monotonic time."""
        wall_s = now_s + ahead_s
        changes = seen.workloads is not None and seen.workloads != self._workloads
        if changes or int(now_s) != self._second:
            # What was gathered belongs to the workloads as they were.
            yield from self.gathered()
            self._second, self._ahead_s = int(now_s), ahead_s
        if seen.workloads is not None and changes:
            yield from self._changed_workloads(seen.workloads, now_s, wall_s)
        gathered = self._gathered
        for who, sample in seen.samples.items():
            if who in gathered:
                gathered[who].append(sample)
            else:
                gathered[who] = [sample]
        if seen.limits is not None:
            for who, limit in seen.limits.items():
                if self._limits.get(who) != limit:
                    self._limits[who] = limit
                    values = (limit.quota_usec, limit.period_usec, limit.burst_usec, limit.weight)
                    yield Draft("limits", now_s, wall_s, who, values)
        if seen.node is not None and seen.node != self._node:
            self._node = seen.node
            yield Draft("nodes", now_s, wall_s, None, (seen.node.cpu_milli, seen.node.usage_milli))
        for outcome in seen.outcomes:
            yield _outcome(outcome, ahead_s)

    def gathered(self) -> Iterable[Draft]:
        """Draft the samples of the second that is over."""
        ahead_s = self._ahead_s
        for who, samples in self._gathered.items():
            last, before = samples[-1], self._written.get(who)
            if before is not None and not packing.changed(before, last) and not packing.changed(before, samples[0]):
                self._skipped[who] = last
                continue
            skipped = self._skipped.pop(who, None)
            if skipped is not None:
                # The rate of what follows can only be told from where the silence ended.
                samples.insert(0, skipped)
            for part in packing.split_long(samples):
                at_s = part[0].read_at_s
                yield Draft("samples", at_s, at_s + ahead_s, who, (packing.pack_samples(part),))
            self._written[who] = last
        self._gathered.clear()

    def decision(self, decision: Decision, now_s: float, ahead_s: float) -> Iterable[Draft]:
        """Draft what was decided, but for the clearing: that comes with its receipt."""
        for who, demand in decision.demands.items():
            if not _is_same(self._demands.get(who), demand):
                self._demands[who] = demand
                yield Draft("demands", now_s, now_s + ahead_s, who, (packing.pack_demand(demand),))
        for event in decision.events:
            yield from self.event(event, ahead_s)

    @staticmethod
    def event(event: Event, ahead_s: float) -> Iterable[Draft]:
        """Draft an event."""
        yield Draft("events", event.at_s, event.at_s + ahead_s, event.workload, (event.kind, event.message))

    @staticmethod
    def receipt(receipt: Receipt, ahead_s: float) -> Iterable[Draft]:
        """Draft a receipt; its place in the chain is found when it is written."""
        body = zlib.compress(receipts.encode(receipt), _COMPRESSION)
        at_s = receipt.decided_at_s
        yield Draft("receipts", at_s, at_s + ahead_s, None, (receipt.receipt_id, body))

    def _changed_workloads(
        self, workloads: Mapping[WorkloadId, Workload], now_s: float, wall_s: float
    ) -> Iterable[Draft]:
        for gone in self._workloads.keys() - workloads.keys():
            self._workloads.pop(gone)
            self._written.pop(gone, None)
            self._skipped.pop(gone, None)
            self._demands.pop(gone, None)
            self._limits.pop(gone, None)
            yield Draft("gone", now_s, wall_s, gone, ())
        for who, workload in workloads.items():
            if self._workloads.get(who) != workload:
                self._workloads[who] = workload
                values = (
                    workload.cgroup.path,
                    workload.cgroup.inode,
                    msgspec.json.encode(workload.contract).decode(),
                    int(workload.managed),
                    workload.unmanaged_reason,
                )
                yield Draft("workloads", now_s, wall_s, who, values)


def _outcome(outcome: ResizeOutcome, ahead_s: float) -> Draft:
    ended_at_s = outcome.ended_at_s
    written = msgspec.json.encode(outcome).decode()
    return Draft("resizes", ended_at_s, ended_at_s + ahead_s, outcome.resize.workload, (written,))


def _is_same(before: Demand | None, after: Demand) -> bool:
    if before is None or (before.stall is None) != (after.stall is None):
        return False
    return (
        abs(before.need_milli - after.need_milli) < _SAME_MILLI
        and abs(before.usage_milli - after.usage_milli) < _SAME_MILLI
        and abs(before.smoothed_milli - after.smoothed_milli) < _SAME_MILLI
        and abs(before.throttled_ratio - after.throttled_ratio) < _SAME_RATIO
    )
