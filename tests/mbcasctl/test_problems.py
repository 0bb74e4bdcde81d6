import math
from datetime import date

import pytest

from mbcasctl.problems import load, understand
from mbcasd.errors import BadProblem
from mbcasd.model.market import Bid, Market, Mechanism, Options, OverloadRule


def an_agent(name="web", **more):
    return {"name": name, "floor_milli": 100, "cap_milli": 900, **more}


def a_problem(*agents, **more):
    return {"capacity_milli": 1000, "agents": list(agents or (an_agent(),)), **more}


def test_what_is_left_out_has_its_default():
    assert understand(a_problem()).markets == (
        Market(capacity_milli=1000, bids=(Bid(name="web", floor_milli=100, cap_milli=900),), options=Options()),
    )


def test_every_key_arrives():
    agent = an_agent(weight=3, lower_milli=500, upper_milli=700.5, group="prod")
    options = {
        "overload_rule": "cea",
        "minimum_milli": 10,
        "truncate_ideal": False,
        "alpha": "inf",
        "normalised": False,
        "quantum_milli": 5,
    }
    (market,) = understand(
        a_problem(agent, mechanism="alpha-fair", groups={"prod": {"weight": 2}}, options=options)
    ).markets

    assert market == Market(
        capacity_milli=1000,
        bids=(
            Bid(name="web", floor_milli=100, cap_milli=900, weight=3, lower_milli=500, upper_milli=700.5, group="prod"),
        ),
        mechanism=Mechanism.ALPHA_FAIR,
        group_weights={"prod": 2},
        options=Options(
            overload_rule=OverloadRule.CEA,
            minimum_milli=10,
            truncate_ideal=False,
            alpha=math.inf,
            normalised=False,
            quantum_milli=5,
        ),
    )


def test_null_where_something_may_be_absent_is_absent():
    (market,) = understand(a_problem(an_agent(lower_milli=None, upper_milli=None, group=None))).markets

    assert market.bids[0] == Bid(name="web", floor_milli=100, cap_milli=900)


def test_a_batch_keeps_its_order_and_stays_a_batch_of_one():
    found = understand({"problems": [a_problem(), a_problem(capacity_milli=500)]})

    assert [market.capacity_milli for market in found.markets] == [1000, 500]
    assert found.batch
    assert understand({"problems": [a_problem()]}).batch
    assert not understand(a_problem()).batch


def alpha(value):
    return a_problem(mechanism="alpha-fair", options={"alpha": value})


BAD = [
    ([a_problem()], r'a list is no problem: write {"problems": \[…\]} for many'),
    ("text", 'the problem must be a mapping of keys to values, not the text "text"'),
    (None, "the problem must be a mapping of keys to values, not null"),
    ({}, "agents is missing"),
    ({"agents": [an_agent()]}, "capacity_milli is missing"),
    ({"capacity_milli": 1}, "agents is missing"),
    (a_problem(capacity_mili=3), "capacity_mili is not a key here; did you mean capacity_milli?"),
    (a_problem(zzz=3), "zzz is not a key here; there are mechanism, capacity_milli, agents, groups, options"),
    (a_problem(capacity_milli="1000m"), 'capacity_milli must be a number, not the text "1000m"'),
    (a_problem(capacity_milli=True), "capacity_milli must be a number, not true"),
    (a_problem(capacity_milli=date(2024, 1, 1)), "capacity_milli must be a number, not a date"),
    (a_problem(capacity_milli=None), "capacity_milli must be a number, not null"),
    (a_problem(capacity_milli=10**400), "capacity_milli is too large a number"),
    (a_problem(capacity_milli=math.nan), "capacity_milli nan must be a finite number and at least 0"),
    (a_problem(capacity_milli=-1), "capacity_milli -1 must be a finite number and at least 0"),
    (a_problem(mechanism="nahs"), 'mechanism "nahs" is not known; did you mean nash?'),
    (a_problem(mechanism=3), "mechanism must be one of nash, kalai-smorodinsky, alpha-fair, primal-dual, not the n"),
    ({"capacity_milli": 1, "agents": []}, "agents: there must be at least one"),
    ({"capacity_milli": 1, "agents": {}}, "agents must be a list, not a mapping"),
    (a_problem("web"), r'agents\[0\] must be a mapping of keys to values, not the text "web"'),
    (a_problem({1: 2}), r'agents\[0\]: the key "1" must be text'),
    (a_problem({"floor_milli": 1, "cap_milli": 2}), r"agents\[0\]: name is missing"),
    (a_problem({"name": "web", "cap_milli": 2}), r"agents\[0\] \(web\): floor_milli is missing"),
    (a_problem({"name": "web", "floor_milli": 2}), r"agents\[0\] \(web\): cap_milli is missing"),
    (a_problem(an_agent(7)), r"agents\[0\]: name must be text, not the number 7; put it in quotes"),
    (a_problem(an_agent("")), r"agents\[0\]: name must not be empty"),
    (a_problem(an_agent(flor_milli=1)), r"agents\[0\] \(web\): flor_milli is not a key here; did you mean floor_milli"),
    (a_problem(an_agent(weight=[])), r"agents\[0\] \(web\): weight must be a number, not an empty list"),
    (a_problem(an_agent(weight="inf")), r'agents\[0\] \(web\): weight must be a number, not the text "inf"'),
    (a_problem(an_agent(weight=math.inf)), r"agents\[0\] \(web\): weight inf must be a finite number"),
    (a_problem(an_agent(weight=-1)), r"agents\[0\] \(web\): weight -1 must be a finite number and at least 0"),
    (a_problem(an_agent(group=3)), r"agents\[0\] \(web\): group must be text, not the number 3"),
    (a_problem(an_agent(), an_agent()), r"agents\[1\] \(web\): name is already that of agents\[0\]"),
    (
        a_problem(an_agent(), an_agent("api", floor_milli=900, cap_milli=300)),
        r"^agents\[1\] \(api\): floor_milli 900 is above cap_milli 300$",
    ),
    (a_problem(groups=[]), "groups must be a mapping of keys to values, not an empty list"),
    (a_problem(groups={"a": 2}), r"groups\.a must be a mapping of keys to values, not the number 2"),
    (a_problem(groups={"a": {"wieght": 2}}), r"groups\.a\.wieght is not a key here; did you mean weight"),
    (a_problem(groups={"a": {"weight": -2}}), r"groups\.a\.weight -2 must be"),
    (a_problem(options=None), "options must be a mapping of keys to values, not null"),
    (a_problem(options={"quantum": 1}), r"options\.quantum is not a key here; did you mean quantum_milli"),
    (a_problem(options={"overload_rule": "max"}), r'options\.overload_rule "max" is not known; there are proportional'),
    (a_problem(options={"truncate_ideal": 1}), r"options\.truncate_ideal must be true or false, not the number 1"),
    (a_problem(options={"normalised": "yes"}), r'options\.normalised must be true or false, not the text "yes"'),
    (a_problem(options={"minimum_milli": math.inf}), r"options\.minimum_milli inf must be"),
    (a_problem(mechanism="alpha-fair"), r"options\.alpha is missing"),
    (alpha("infinity"), r'options\.alpha must be a number or "inf", not the text "infinity"'),
    (alpha(-1), r'options\.alpha -1 must be a number of at least 0, or "inf"'),
    (alpha(math.nan), r"options\.alpha nan must be"),
    (alpha([]), r'options\.alpha must be a number or "inf", not an empty list'),
]


@pytest.mark.parametrize(("document", "says"), BAD)
def test_a_bad_problem_is_refused_with_the_path_of_the_field(document, says):
    with pytest.raises(BadProblem, match=says):
        understand(document)


@pytest.mark.parametrize(("document", "says"), [(d, s) for d, s in BAD if isinstance(d, dict)])
def test_in_a_batch_the_number_of_the_problem_stands_in_front(document, says):
    with pytest.raises(BadProblem, match=rf"^problems\[1\]\.{says.lstrip('^')}"):
        understand({"problems": [a_problem(), document]})


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"problems": []}, "problems must be a list of at least one problem, not an empty list"),
        ({"problems": {}}, "problems must be a list of at least one problem, not a mapping"),
        ({"problems": [3]}, r"problems\[0\] must be a mapping of keys to values, not the number 3"),
        ({"problems": [a_problem()], "options": {}}, '"problems" stands alone: move "options" into each'),
        ({"problems": [{"problems": [a_problem()]}]}, r"problems\[0\]\.problems is not a key here"),
    ],
)
def test_a_bad_batch_is_refused(document, says):
    with pytest.raises(BadProblem, match=says):
        understand(document)


def test_infinity_is_an_alpha_in_yaml_and_toml_too(tmp_path):
    rest = "capacity_milli: 5, agents: [{name: a, floor_milli: 0, cap_milli: 9}]"
    (tmp_path / "p.yaml").write_text(f"{{mechanism: alpha-fair, options: {{alpha: .inf}}, {rest}}}")

    assert load(str(tmp_path / "p.yaml")).markets[0].options.alpha == math.inf
