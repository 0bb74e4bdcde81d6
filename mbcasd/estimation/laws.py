"""Which law goes by which name.

All of them honour cost mode and idle decay. Probing is for `reflex` alone: it holds a limit that fits for ever,
while the others come down by themselves until something is throttled.
"""

from collections.abc import Mapping

from mbcasd.estimation import captain, reflex, tobit, usage
from mbcasd.estimation.law import Law
from mbcasd.settings import EstimatorKind

LAWS: Mapping[EstimatorKind, Law] = {
    EstimatorKind.REFLEX: reflex.LAW,
    EstimatorKind.CAPTAIN: captain.LAW,
    EstimatorKind.TOBIT: tobit.LAW,
    EstimatorKind.USAGE: usage.LAW,
}
