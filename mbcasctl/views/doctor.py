"""A diagnosis as lines: a mark, what was found, and what to do; pure."""

import textwrap

from rich.text import Text

from mbcasctl.doctor.facts import Diagnosis, Finding, Level
from mbcasctl.views import style, text
from mbcasctl.views.text import UNICODE, Glyphs

_COLOURS = {Level.OK: style.GOOD, Level.WARNING: style.HELD, Level.PROBLEM: style.BAD}

# A remedy stands beside its finding where there is room, else below it.
_REMEDY_COLUMN = 72


def lines(diagnosis: Diagnosis, width: int = 80, glyphs: Glyphs = UNICODE) -> list[Text]:
    """The whole screen, no line longer than `width` cells."""
    drawn = []
    if diagnosis.node:
        drawn.append(Text(f"{text.clean(diagnosis.node, glyphs)} (host checks)", style=style.TITLE))
    for finding in diagnosis.findings:
        drawn += _finding(finding, width, glyphs)
    if diagnosis.cluster:
        drawn.append(Text(f"cluster {text.clean(diagnosis.cluster, glyphs)}", style=style.TITLE))
        drawn[-1].truncate(width, overflow="crop")
    for finding in diagnosis.cluster_findings:
        drawn += _finding(finding, width, glyphs)
    drawn.append(Text(_summary(diagnosis), style=_COLOURS[_worst(diagnosis)]))
    return drawn


def _finding(finding: Finding, width: int, glyphs: Glyphs) -> list[Text]:
    mark = {Level.OK: glyphs.yes, Level.WARNING: "!", Level.PROBLEM: glyphs.no}[finding.level]
    indent = " " * (3 + len(mark))
    message = textwrap.wrap(text.clean(finding.message, glyphs), width - len(indent), break_on_hyphens=False) or [""]
    drawn = [Text(f"  {mark} ", style=_COLOURS[finding.level]).append(message[0], style="default")]
    drawn += [Text(indent + line) for line in message[1:]]
    if not finding.remedy:
        return drawn
    arrow = "-> " if glyphs is not UNICODE else "→ "
    remedy = f"{arrow}{text.clean(finding.remedy, glyphs)}"
    if len(message) == 1 and _REMEDY_COLUMN + len(remedy) <= width:
        drawn[0].pad_right(max(1, _REMEDY_COLUMN - drawn[0].cell_len))
        drawn[0].append(remedy, style=style.QUIET)
        return drawn
    wrapped = textwrap.wrap(remedy, width - len(indent), subsequent_indent=" " * len(arrow), break_on_hyphens=False)
    return drawn + [Text(f"{indent}{line}") for line in wrapped]


def _summary(diagnosis: Diagnosis) -> str:
    if not diagnosis.warnings and not diagnosis.problems:
        return "everything is as it should be"
    warnings = f"{diagnosis.warnings} warning{'' if diagnosis.warnings == 1 else 's'}"
    problems = f"{diagnosis.problems} problem{'' if diagnosis.problems == 1 else 's'}"
    return f"{warnings}, {problems}"


def _worst(diagnosis: Diagnosis) -> Level:
    return Level.PROBLEM if diagnosis.problems else Level.WARNING if diagnosis.warnings else Level.OK
