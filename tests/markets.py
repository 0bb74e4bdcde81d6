"""Random markets for Hypothesis: any mix of empty, equal, tiny, huge and knife-edge bids."""

from math import fsum, inf, nextafter

from hypothesis import strategies as st

from mbcasd.model.market import Bid, Market, Mechanism, Options, OverloadRule

# Whole numbers make ties and exact fits; the rest makes everything else.
PLAIN_MILLI = st.one_of(st.integers(0, 1000).map(float), st.floats(0, 4000, allow_subnormal=False))
WILD_MILLI = st.one_of(
    PLAIN_MILLI,
    st.floats(0, 1e12, allow_subnormal=False),
    st.sampled_from([0.0, 1e12, 1e-9, 100.0, nextafter(100.0, inf), nextafter(100.0, 0.0)]),
)
PLAIN_WEIGHT = st.one_of(st.sampled_from([1.0, 1.0, 2.0, 3.0]), st.floats(0.01, 100))
WILD_WEIGHT = st.one_of(PLAIN_WEIGHT, st.just(0.0), st.floats(1e-6, 1e6))


@st.composite
def bids(draw, *, milli=PLAIN_MILLI, weight=PLAIN_WEIGHT, windows=False, groups=False, most=12):
    found = []
    for i in range(draw(st.integers(1, most))):
        floor, room = draw(milli), draw(st.one_of(st.just(0.0), milli))
        more = {}
        if windows:
            more["lower_milli"] = draw(st.one_of(st.none(), milli))
            more["upper_milli"] = draw(st.one_of(st.none(), milli))
        if groups:
            more["group"] = draw(st.sampled_from([None, "a", "b"]))
        cap = floor + room
        found.append(Bid(name=f"w{i}", floor_milli=floor, cap_milli=cap, weight=draw(weight), **more))
    return tuple(found)


@st.composite
def capacities(draw, of, *, overloaded=True):
    """Anything between nothing and more than enough, often right at an edge or one ulp beside it."""
    floors, caps = fsum(b.floor_milli for b in of), fsum(b.cap_milli for b in of)
    inside = floors + draw(st.floats(0, 1.2)) * (caps - floors)
    choices = [inside, inside, inside, floors, caps]
    if overloaded:
        choices += [draw(st.floats(0, 1)) * floors, 0.0]
    capacity = draw(st.sampled_from(choices))
    nudged = draw(st.sampled_from([capacity, capacity, nextafter(capacity, 0.0), nextafter(capacity, inf)]))
    # An ulp beside nothing makes prices that no float holds; that has examples of its own.
    nudged = 0.0 if nudged < 1e-200 else nudged
    return nudged if overloaded else max(nudged, nextafter(floors, inf))  # the sum of floors was rounded


@st.composite
def markets(draw, *, mechanisms=tuple(Mechanism), wild=True, windows=True, groups=False, overloaded=True, most=12):
    of = draw(
        bids(
            milli=WILD_MILLI if wild else PLAIN_MILLI,
            weight=WILD_WEIGHT if wild else PLAIN_WEIGHT,
            windows=windows,
            groups=groups,
            most=most,
        )
    )
    return Market(
        capacity_milli=draw(capacities(of, overloaded=overloaded)),
        bids=of,
        mechanism=draw(st.sampled_from(mechanisms)),
        group_weights={"a": draw(st.sampled_from([0.5, 1.0, 2.0]))} if groups else {},
        options=Options(
            overload_rule=draw(st.sampled_from(OverloadRule)),
            minimum_milli=draw(st.sampled_from([0.0, 0.0, 10.0, 50.0])),
            truncate_ideal=draw(st.booleans()),
            alpha=draw(st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, inf])),
            normalised=draw(st.booleans()),
        ),
    )
