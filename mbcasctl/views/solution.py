"""What a market gives everybody, as text and as data; pure."""

from math import ceil, fsum, isfinite, log10
from typing import TYPE_CHECKING

from mbcasctl.views import text
from mbcasctl.views.text import UNICODE, Glyphs, bar, clean, shorten
from mbcasd.allocation.utility import satisfaction
from mbcasd.model.market import Binding, Clearing, Market, Mechanism, Mode

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_BAR_CELLS = 10
_LONGEST_NAME = 20
_SHORT_NAME = 12
_WITH_BARS_CELLS = 80
_WITH_BOUNDS_CELLS = 62
_TITLES = {
    Mechanism.NASH: "Nash bargaining",
    Mechanism.KALAI_SMORODINSKY: "Kalai–Smorodinsky",
    Mechanism.PRIMAL_DUAL: "Nash bargaining by price",
}
_HELD_BY = {
    Binding.FLOOR: "floor",
    Binding.CAP: "cap",
    Binding.LOWER: "lower",
    Binding.UPPER: "upper",
    Binding.MINIMUM: "minimum",
}


def as_data(clearing: Clearing) -> dict[str, object]:
    """One solution as `-o json` prints it; the contract stands in the design notes, "mbcasctl solve"."""
    proof = clearing.certificate
    return {
        "mechanism": clearing.mechanism.value,
        "mode": clearing.mode.value,
        "capacity_milli": clearing.capacity_milli,
        "allocated_milli": clearing.allocated_milli,
        "price": clearing.price,
        "ratio": clearing.ratio,
        "allocations": [
            {"name": got.name, "milli": got.milli, "binding": got.binding.value} for got in clearing.allocations
        ],
        "groups": [{"name": group.name, "milli": group.milli, "price": group.price} for group in clearing.groups],
        "certificate": {
            "kind": proof.kind,
            "holds": proof.holds,
            "max_residual": proof.max_residual if isfinite(proof.max_residual) else None,
        },
    }


def as_screen(
    market: Market, clearing: Clearing, glyphs: Glyphs = UNICODE, *, width: int = 80, wide: bool = False
) -> "RenderableType":
    """One solution for people.

    Args:
        market: What was asked.
        clearing: What came out.
        glyphs: What the terminal can show.
        width: Cells of the terminal; below 80 bars and bounds are left out.
        wide: Exact figures, windows and groups beside each agent, whatever the terminal.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        *_headlines(market, clearing),
        Text(),
        _agents(market, clearing, glyphs, width, wide=wide),
        _total(clearing, wide=wide),
    ]
    if clearing.groups:
        parts += [Text(), _groups(market, clearing, wide=wide)]
    parts += [Text(), _proof(market, clearing)]
    return Group(*parts)


def _headlines(market: Market, clearing: Clearing) -> "list[Text]":
    from rich.text import Text

    from mbcasctl.views import style

    title = _TITLES.get(clearing.mechanism) or _alpha_title(market)
    if clearing.groups:
        title += " by group"
    colour = {Mode.UNCONGESTED: style.GOOD, Mode.CONGESTED: style.HELD, Mode.OVERLOADED: style.BAD}[clearing.mode]
    worth = "no price" if clearing.price is None else f"price {clearing.price:.3g}"
    if clearing.ratio is not None:
        worth = f"ratio {clearing.ratio:.3g}"
    floors_milli = fsum(bid.floor_milli for bid in market.bids)
    caps_milli = fsum(bid.cap_milli for bid in market.bids)
    return [
        Text.assemble((title, style.TITLE), " · ", (clearing.mode.value, colour), " · ", worth),
        Text(
            f"capacity {_milli(market.capacity_milli)}, floors {_milli(floors_milli)}, caps {_milli(caps_milli)}",
            style=style.QUIET,
        ),
    ]


def _alpha_title(market: Market) -> str:
    options = market.options
    return f"alpha-fair, alpha {options.alpha:g}{', normalised' if options.normalised else ''}"


def _agents(market: Market, clearing: Clearing, glyphs: Glyphs, width: int, *, wide: bool) -> "Table":
    from rich.text import Text

    from mbcasctl.views import style

    starved = clearing.mode is Mode.OVERLOADED
    common = "price" if clearing.price is not None else "ratio" if clearing.ratio is not None else "level"
    # What a narrow terminal has no room for.
    bars, bounds = wide or width >= _WITH_BARS_CELLS, wide or width >= _WITH_BOUNDS_CELLS
    table = _table()
    table.add_column("AGENT", no_wrap=True)
    if wide:
        table.add_column("GROUP", no_wrap=True)
    known = ("FLOOR", "CAP", *(("LOWER", "UPPER") if wide else ()), "WEIGHT") if bounds else ()
    for title in (*known, "GETS"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("OF FLOOR" if starved else "OF RANGE", no_wrap=True)
    table.add_column("HELD BY", no_wrap=True)
    for bid, got in zip(market.bids, clearing.allocations, strict=True):
        name = clean(bid.name, glyphs)
        cells = [name if wide else shorten(name, _LONGEST_NAME if bars else _SHORT_NAME, glyphs)]
        if wide:
            cells.append(clean(bid.group or glyphs.none, glyphs))
        if bounds:
            cells += [_milli(bid.floor_milli, wide=wide), _milli(bid.cap_milli, wide=wide)]
        if wide:
            window = (bid.lower_milli, bid.upper_milli)
            cells += [glyphs.none if bound is None else _milli(bound, wide=True) for bound in window]
        if bounds:
            cells.append(f"{bid.weight:g}")
        cells.append(_milli(got.milli, wide=wide))
        bottom, top = (0.0, bid.floor_milli) if starved else (bid.floor_milli, bid.cap_milli)
        share = satisfaction(got.milli, bottom, top)
        colour = style.GOOD if got.binding is Binding.CAP else style.HELD
        if got.milli < bid.floor_milli:
            colour = style.BAD
        filled = bar(share, _BAR_CELLS, 1.0, glyphs).ljust(_BAR_CELLS)
        ends = ("|", "|") if glyphs.ascii_only else ("▕", "▏")
        shown = Text.assemble(ends[0], (filled, colour), ends[1]) if bars else Text()
        shown.append(f"{share:4.0%}")
        # Text, because a plain string would be read as markup.
        table.add_row(*map(Text, cells), shown, Text(_HELD_BY.get(got.binding, common), style=colour))
    return table


def _total(clearing: Clearing, *, wide: bool) -> "Text":
    from rich.text import Text

    from mbcasctl.views import style

    given = _milli(clearing.allocated_milli, wide=wide)
    return Text(f"  given {given} of {_milli(clearing.capacity_milli, wide=wide)}", style=style.QUIET)


def _groups(market: Market, clearing: Clearing, *, wide: bool) -> "Table":
    from rich.text import Text

    table = _table()
    table.add_column("GROUP", no_wrap=True)
    table.add_column("WEIGHT", justify="right", no_wrap=True)
    table.add_column("GETS", justify="right", no_wrap=True)
    table.add_column("PRICE INSIDE", justify="right", no_wrap=True)
    for group in clearing.groups:
        price = "none" if group.price is None else f"{group.price:.3g}"
        weight = market.group_weights.get(group.name, 1.0)
        table.add_row(Text(clean(group.name)), f"{weight:g}", _milli(group.milli, wide=wide), price)
    return table


def _table() -> "Table":
    from rich.table import Table

    from mbcasctl.views import style

    return Table(box=None, padding=(0, 0, 0, 2), pad_edge=True, header_style=style.TITLE)


def _proof(market: Market, clearing: Clearing) -> "Text":
    """Say in words what was checked, and how well it holds."""
    from rich.text import Text

    from mbcasctl.views import style

    proof = clearing.certificate
    if not proof.holds:
        words = (
            f"The proof fails (largest error {proof.max_residual:.1g}): do not trust these numbers; please report it."
        )
        return Text(words, style=style.BAD)
    # Which ulp it is differs from machine to machine; its magnitude is what matters.
    error = f"max error 1e{ceil(log10(max(proof.max_residual, 1e-15)))}"
    if market.options.quantum_milli > 0:
        error += f", rounded to {market.options.quantum_milli:g}m"
    return Text(f"Proof: {_explanation(clearing)} ({error}).\nNothing was changed.")


def _explanation(clearing: Clearing) -> str:
    words = "one common level explains what everybody gets"
    if clearing.certificate.kind == "feasible":
        words = "there is nothing to share beyond what everybody has at least"
    elif all(got.binding in {Binding.CAP, Binding.UPPER} for got in clearing.allocations):
        words = "everybody has all that the bounds allow"
    elif clearing.mode is Mode.OVERLOADED and clearing.price:
        words = f"the floors do not fit; one price, {clearing.price:.3g}, shares what is there"
    elif clearing.ratio is not None:
        words = f"who is held by the ratio got the same share of its ideal per weight, {clearing.ratio:.3g}"
    elif clearing.price:
        rule = "marginal welfare" if clearing.mechanism is Mechanism.ALPHA_FAIR else "weight / surplus"
        words = f"every agent held by the price has {rule} = {clearing.price:.3g}"
        if clearing.groups:
            words = f"{rule} is the same for all between their bounds, in each group"
    return words


def _milli(milli: float, *, wide: bool = False) -> str:
    """Millicores: whole, or with wide as exactly as anybody reads."""
    if wide:
        return f"{milli:.9g}m"
    return f"{milli:.2g}m" if milli < 10 and milli != round(milli) else text.milli(milli)
