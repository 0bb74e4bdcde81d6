"""The axioms of bargaining as laws, each also shown to fail for the rule that lacks it (design notes §2).

An axiom that no rule can break would be no test. So every law has a witness: a concrete market in which another
rule breaks it.
"""

from dataclasses import replace
from math import fsum, inf

import pytest
from builders import a_bid
from hypothesis import assume, given
from hypothesis import strategies as st
from markets import bids, capacities

from mbcasd.allocation.market import clear
from mbcasd.model.market import Market, Mechanism, Mode, Options

NASH = {"mechanism": Mechanism.NASH}
KS = {"mechanism": Mechanism.KALAI_SMORODINSKY}
CLAIMS = {"mechanism": Mechanism.KALAI_SMORODINSKY, "options": Options(truncate_ideal=False)}
ALPHA_2 = {"mechanism": Mechanism.ALPHA_FAIR, "options": Options(alpha=2)}
RULES = {"nash": NASH, "ks": KS, "claims": CLAIMS, "alpha 2": ALPHA_2}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def amounts(market):
    return [got.milli for got in clear(market).allocations]


def close(value, scale=1.0):
    return pytest.approx(value, rel=1e-9, abs=1e-9 * max(1.0, scale))


def two(capacity, first, second, rule, **more):
    """Floors 0, weights 1, the given caps."""
    made = (a_bid("a", floor=0, cap=first, **more), a_bid("b", floor=0, cap=second))
    return Market(capacity_milli=capacity, bids=made, **rule)


@st.composite
def feasible(draw, least=1):
    """A market in which all floors fit."""
    of = draw(bids(most=8))
    assume(len(of) >= least)
    return draw(capacities(of, overloaded=False)), of


# ---- laws that every rule here keeps ----------------------------------------------------------------


@every_rule
@given(market=feasible())
def test_pareto_and_individual_rationality(rule, market):
    """Nothing that anybody can use stays idle; nobody gets less than its floor or more than its cap."""
    capacity, of = market
    got = amounts(Market(capacity_milli=capacity, bids=of, **rule))

    assert fsum(got) == close(min(capacity, fsum(b.cap_milli for b in of)), capacity)
    assert all(b.floor_milli <= x <= b.cap_milli for b, x in zip(of, got, strict=True))


def test_the_seeds_overload_rule_was_not_pareto_efficient_in_claims():
    """Seed: x = d w / sum(d w) C. It gave 749 to a floor of 500 while another floor starved; ours never does."""
    market = Market(capacity_milli=999, bids=(a_bid("a", floor=500), a_bid("b", floor=500, weight=3)))
    seed = [500 * w / (500 * 4) * 999 for w in (1, 3)]

    assert seed[1] > 500 > seed[0]
    assert clear(market).mode is Mode.OVERLOADED
    assert all(x <= 500 for x in amounts(market))


@every_rule
@given(market=feasible(), order=st.randoms(use_true_random=False))
def test_anonymity(rule, market, order):
    """Who comes first does not matter."""
    capacity, of = market
    shuffled = list(of)
    order.shuffle(shuffled)
    got = dict(zip([b.name for b in of], amounts(Market(capacity_milli=capacity, bids=of, **rule)), strict=True))
    again = amounts(Market(capacity_milli=capacity, bids=tuple(shuffled), **rule))

    assert again == [close(got[b.name], capacity) for b in shuffled]


def test_rounding_is_where_position_matters():
    market = Market(capacity_milli=100, bids=tuple(a_bid(n, floor=0) for n in "abc"), options=Options(quantum_milli=10))

    assert amounts(market) == [40, 30, 30]


@every_rule
@given(market=feasible(), factor=st.sampled_from([0.125, 3.0, 1000.0]))
def test_homogeneity(rule, market, factor):
    """In microcores the answer is the same."""
    capacity, of = market
    scaled = tuple(replace(b, floor_milli=b.floor_milli * factor, cap_milli=b.cap_milli * factor) for b in of)
    got = amounts(Market(capacity_milli=capacity, bids=of, **rule))
    again = amounts(Market(capacity_milli=capacity * factor, bids=scaled, **rule))

    assert again == [close(x * factor, capacity * factor) for x in got]


@every_rule
@given(market=feasible(), factor=st.sampled_from([0.01, 7.0]))
def test_only_relative_weights_matter(rule, market, factor):
    capacity, of = market
    scaled = tuple(replace(b, weight=b.weight * factor) for b in of)

    assert amounts(Market(capacity_milli=capacity, bids=scaled, **rule)) == [
        close(x, capacity) for x in amounts(Market(capacity_milli=capacity, bids=of, **rule))
    ]


@every_rule
@given(market=feasible(), more=st.floats(0, 2000))
def test_resource_monotonicity(rule, market, more):
    """With more to share nobody loses."""
    capacity, of = market
    before = amounts(Market(capacity_milli=capacity, bids=of, **rule))
    after = amounts(Market(capacity_milli=capacity + more, bids=of, **rule))

    assert all(a >= b - 1e-9 * max(1.0, capacity) for b, a in zip(before, after, strict=True))


@every_rule
@given(market=feasible(), more=st.floats(0, 2000))
def test_own_cap_monotonicity(rule, market, more):
    """Being able to use more never costs."""
    capacity, of = market
    raised = (replace(of[0], cap_milli=of[0].cap_milli + more), *of[1:])

    before = amounts(Market(capacity_milli=capacity, bids=of, **rule))[0]
    after = amounts(Market(capacity_milli=capacity, bids=raised, **rule))[0]
    assert after >= before - 1e-9 * max(1.0, capacity)


@every_rule
@given(market=feasible(least=2))
def test_population_monotonicity(rule, market):
    """Who stays does not lose when one leaves and all is shared anew."""
    capacity, of = market
    before = amounts(Market(capacity_milli=capacity, bids=of, **rule))[1:]
    after = amounts(Market(capacity_milli=capacity, bids=of[1:], **rule))

    assert all(a >= b - 1e-9 * max(1.0, capacity) for b, a in zip(before, after, strict=True))


def test_integer_shares_lack_resource_monotonicity():
    """The witness for the three laws above: largest remainder is not house-monotone."""
    of = tuple(a_bid(f"w{i}", floor=0, cap=1000, weight=w) for i, w in enumerate((2, 10, 10)))
    less, more = (amounts(Market(capacity_milli=c, bids=of, options=Options(quantum_milli=1))) for c in (16, 17))

    assert (less, more) == ([2, 7, 7], [1, 8, 8])


# ---- laws that single out Nash bargaining -----------------------------------------------------------


@given(market=feasible(), share=st.floats(0, 1))
def test_independence_of_irrelevant_alternatives(market, share):
    """Nash: who could use less, but no less than it got, gets the same; and so do all others."""
    capacity, of = market
    got = amounts(Market(capacity_milli=capacity, bids=of))
    shrunk = tuple(
        replace(b, cap_milli=max(b.floor_milli, x + share * (b.cap_milli - x))) for b, x in zip(of, got, strict=True)
    )

    assert amounts(Market(capacity_milli=capacity, bids=shrunk)) == [close(x, capacity) for x in got]


@pytest.mark.parametrize("rule", [KS, CLAIMS, ALPHA_2], ids=["ks", "claims", "alpha 2"])
def test_iia_fails_for_every_other_rule(rule):
    """With a cap just above what it got the first should get the same, and loses more than 10."""
    before = amounts(two(200, 1000, 100, rule))
    after = amounts(two(200, before[0] + 1, 100, rule))

    assert after[0] < before[0] - 10


def test_iia_fails_for_ks_as_in_the_notes():
    # 500 x (500, 100)/600, and with the cap at 450 500 x (450, 100)/550.
    assert amounts(two(500, 1000, 100, KS)) == pytest.approx([416.67, 83.33], abs=0.005)
    assert amounts(two(500, 450, 100, KS)) == pytest.approx([409.09, 90.91], abs=0.005)


@given(market=feasible(), scales=st.lists(st.floats(0.01, 100), min_size=8, max_size=8))
def test_scale_invariance(market, scales):
    """Nash: w log(a s) differs from w log(s) by a constant; measured in other units the answer is the same.

    Scaling utility z by a is alpha-fairness of weights w * a**(1 - alpha): at alpha 1 nothing changes.
    """
    capacity, of = market

    def scaled(alpha):
        weighted = tuple(
            replace(b, weight=b.weight * a ** (1 - alpha)) for b, a in zip(of, scales[: len(of)], strict=True)
        )
        return amounts(
            Market(
                capacity_milli=capacity,
                bids=weighted,
                mechanism=Mechanism.ALPHA_FAIR,
                options=Options(alpha=alpha, normalised=False),
            )
        )

    assert scaled(1) == [close(x, capacity) for x in amounts(Market(capacity_milli=capacity, bids=of))]


@pytest.mark.parametrize(("alpha", "expected"), [(0.5, [20, 80]), (2, [66.67, 33.33]), (4, [73.9, 26.1])])
def test_scale_invariance_fails_for_every_other_alpha(alpha, expected):
    """Utilities scaled by 1 and 4, surplus 100."""
    made = (a_bid("a", floor=0, cap=1e6), a_bid("b", floor=0, cap=1e6, weight=4 ** (1 - alpha)))
    options = Options(alpha=alpha, normalised=False)
    market = Market(capacity_milli=100, bids=made, mechanism=Mechanism.ALPHA_FAIR, options=options)

    assert amounts(market) == pytest.approx(expected, abs=0.05)


@given(market=feasible(least=2))
def test_consistency(market):
    """Nash: when one leaves with what it got, the others keep what they got."""
    capacity, of = market
    got = amounts(Market(capacity_milli=capacity, bids=of))
    floors = fsum(b.floor_milli for b in of[1:])

    rest = amounts(Market(capacity_milli=max(floors, capacity - got[0]), bids=of[1:]))
    assert rest == [close(x, capacity) for x in got[1:]]


@pytest.mark.parametrize("rule", [KS, ALPHA_2], ids=["ks", "alpha 2"])
def test_consistency_fails_where_ideals_depend_on_what_there_is(rule):
    made = tuple(a_bid(f"w{i}", floor=0, cap=cap) for i, cap in enumerate((1000, 100, 400)))
    got = amounts(Market(capacity_milli=500, bids=made, **rule))
    rest = amounts(Market(capacity_milli=500 - got[0], bids=made[1:], **rule))

    assert abs(rest[0] - got[1]) > 1


@given(market=feasible())
def test_weighted_envy_freeness(market):
    """Nash: nobody would rather have another's surplus per weight, up to what it can use."""
    capacity, of = market
    got = amounts(Market(capacity_milli=capacity, bids=of))
    surplus = [(x - b.floor_milli) / b.weight for b, x in zip(of, got, strict=True)]

    for b, own in zip(of, surplus, strict=True):
        usable = (b.cap_milli - b.floor_milli) / b.weight
        noise = 1e-9 * max(1.0, capacity) / b.weight
        assert all(own >= min(usable, other) - noise - 1e-9 * other for other in surplus)


@pytest.mark.parametrize("rule", [KS, CLAIMS, ALPHA_2], ids=["ks", "claims", "alpha 2"])
def test_envy_freeness_fails_for_every_other_rule(rule):
    """The second could use 100 and has less, while the first has more than that."""
    first, second = amounts(two(200, 1000, 100, rule))

    assert second < 90
    assert first > 110


@given(market=feasible(), factor=st.floats(0, 20))
def test_overstating_or_understating_need_gains_nothing(market, factor):
    """Nash is the uniform rule: reporting the true need is dominant. What counts is what one can use."""
    capacity, of = market
    true = of[0]
    lie = replace(true, cap_milli=true.floor_milli + factor * (true.cap_milli - true.floor_milli))

    honest = amounts(Market(capacity_milli=capacity, bids=of))[0]
    lying = min(amounts(Market(capacity_milli=capacity, bids=(lie, *of[1:])))[0], true.cap_milli)
    assert lying <= honest + 1e-9 * max(1.0, capacity)


@pytest.mark.parametrize("rule", [KS, CLAIMS, ALPHA_2], ids=["ks", "claims", "alpha 2"])
def test_overstating_need_pays_under_every_other_rule(rule):
    """Truth (400, 400) of 500 gives 250 each; the first says 500 and really gets more."""
    honest, lying = amounts(two(500, 400, 400, rule))[0], amounts(two(500, 500, 400, rule))[0]

    assert honest == pytest.approx(250)
    assert min(lying, 400) > honest + 10


def test_overstating_need_under_ks_as_in_the_notes():
    # 500 x 500/900.
    assert amounts(two(500, 500, 400, KS))[0] == pytest.approx(277.8, abs=0.05)


@every_rule
def test_no_rule_is_truthful_in_floors_or_weights(rule):
    """That is why floors and weights come from the operator, never from the pod."""
    made = tuple(a_bid(f"w{i}", floor=100, cap=900) for i in range(10))
    market = Market(capacity_milli=3000, bids=made, **rule)
    honest = amounts(market)[0]

    higher = amounts(replace(market, bids=(replace(made[0], floor_milli=300), *made[1:])))[0]
    assert higher > honest + 50
    heavier = amounts(replace(market, bids=(replace(made[0], weight=3), *made[1:])))[0]
    assert heavier > honest + 50


def test_the_gain_of_a_floor_under_nash_is_what_it_takes_from_the_others():
    # d + 1 gives 1 - w/W = 0.9 for ten equal pods.
    made = tuple(a_bid(f"w{i}", floor=100, cap=900) for i in range(10))
    market = Market(capacity_milli=3000, bids=made)
    raised = replace(market, bids=(replace(made[0], floor_milli=101), *made[1:]))

    assert amounts(raised)[0] - amounts(market)[0] == pytest.approx(0.9)


# ---- continuity -------------------------------------------------------------------------------------


@every_rule
@given(market=feasible(), step=st.floats(-1, 1))
def test_a_little_more_or_less_capacity_moves_nobody_far(rule, market, step):
    """No cliff anywhere, not even where congestion turns into overload; the seed's three formulas had two."""
    capacity, of = market
    floors = fsum(b.floor_milli for b in of)
    for around in (capacity, floors):
        before = amounts(Market(capacity_milli=around, bids=of, **rule))
        after = amounts(Market(capacity_milli=max(0.0, around + step), bids=of, **rule))
        # Each is monotone in the capacity, so nobody moves by more than all together.
        assert all(abs(a - b) <= abs(step) + 1e-6 for b, a in zip(before, after, strict=True))


@given(market=feasible(), delta=st.floats(-100, 100))
def test_one_changed_need_moves_all_others_together_no_further(market, delta):
    """Nash: the total change is at most twice that of the one cap."""
    capacity, of = market
    changed = replace(of[0], cap_milli=max(of[0].floor_milli, of[0].cap_milli + delta))
    moved = abs(changed.cap_milli - of[0].cap_milli)
    before = amounts(Market(capacity_milli=capacity, bids=of))
    after = amounts(Market(capacity_milli=capacity, bids=(changed, *of[1:])))

    assert fsum(abs(a - b) for b, a in zip(before, after, strict=True)) <= 2 * moved + 1e-6


def test_the_untruncated_ideal_rewards_an_inflated_claim_without_bound():
    """Witness that truncation matters: at ten times, a hundred times the need it takes all."""
    got = [amounts(two(500, claim, 400, CLAIMS))[0] for claim in (400, 4000, 400_000)]
    truncated = [amounts(two(500, claim, 400, KS))[0] for claim in (400, 4000, 400_000)]

    assert got[2] > 499
    assert max(truncated) == pytest.approx(500 * 500 / 900)
    assert inf > got[1] > 400
