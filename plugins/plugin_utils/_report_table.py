# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as text for a terminal of a given width: who reaches whom where there is room for it, and what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from ansible_collections.podnet.baremetal.plugins.plugin_utils._report import (
    counted,
    fault,
    figures,
    milliseconds,
    natural,
    verdict,
)
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Path, Problem

CORNER = "from \\ to"
SHOWN = 20  # problems; the others are in the files
NARROWEST = 40


def table(document: Document, width: int) -> str:
    """Lines of at most `width` columns, but for commands, which are there to be copied whole."""
    columns = max(width, NARROWEST)
    lines = [*_head(document, columns), *_mesh(document, columns), *_unverified(document, columns), *_problems(document, columns)]
    return "\n".join("".join(letter if letter.isprintable() else "\ufffd" for letter in line) for line in lines)


def _head(document: Document, width: int) -> Iterator[str]:
    counts, sample = figures(document), document["sample"]
    yield from wrap(f"{verdict(document)}.", width)
    told = [f"{counts.verified} of {counted(counts.nodes, 'node')} verified"]
    told += [f"{sample['tested']:,} of {counted(sample['pairs'], 'pair')} tested"]
    told += [f"{counts.answered:,} of {counted(counts.paths, 'path')} answered"]
    if counts.rtt:
        told.append("round trip " + " / ".join(map(milliseconds, counts.rtt)) + " ms (min / median / max)")
    if counts.sent:
        told.append(f"{counts.sent - counts.received:,} of {counted(counts.sent, 'packet')} lost")
    yield from wrap("; ".join(told) + f"; in {document['took']:.1f} s.", width)


def _mesh(document: Document, width: int) -> list[str]:
    """The median round trip from pod to pod, or what is wrong there; nothing where it is wider than the terminal."""
    names = sorted(document["nodes"], key=natural)
    cells: dict[tuple[str, str], str] = {}
    for path in document["paths"]:
        if path["source"] == path["target"] == "pod" and not cells.get((path["from"], path["to"]), "").isupper():
            cells[path["from"], path["to"]] = _cell(path, bad=bool(fault(path, document["nodes"])))
    first = max(map(len, [CORNER, *names]))
    column = max(map(len, ["0.000", *names, *cells.values()]), default=0) + 2
    if not cells or first + column * len(names) > width:
        return []
    head = CORNER.ljust(first) + "".join(name.rjust(column) for name in names)
    rows = [one.ljust(first) + "".join(cells.get((one, to), "-").rjust(column) for to in names) for one in names]
    return ["", *wrap("From pod to pod, median round trip in milliseconds:", width), "", head, *rows]


def _cell(path: Path, *, bad: bool) -> str:
    if not path["received"] or not path["rtt"]:
        return "NONE"
    return "WRONG" if bad else milliseconds(path["rtt"][1])


def _unverified(document: Document, width: int) -> Iterator[str]:
    lacking = [(name, node) for name, node in document["nodes"].items() if node["state"] != "verified"]
    if lacking:
        yield ""
    for name, node in lacking[:SHOWN]:
        yield from wrap(f"{name}: {node['state']}{': ' if node['reason'] else ''}{node['reason']}", width, subsequent_indent="  ")
    if len(lacking) > SHOWN:
        yield f"and {len(lacking) - SHOWN:,} more nodes."


def _problems(document: Document, width: int) -> Iterator[str]:
    problems = document["problems"]
    for problem in problems[:SHOWN]:
        yield ""
        yield from _problem(problem, width)
    rest = problems[SHOWN:]
    if rest:
        yield ""
        yield f"and {_kinds(rest)} more."


def _problem(problem: Problem, width: int) -> Iterator[str]:
    yield from wrap(f"{problem['severity'].upper()}  {problem['text']}", width, subsequent_indent="  ")
    if problem["hop"]:
        yield from wrap(f"at {problem['hop']}", width, initial_indent="  ", subsequent_indent="  ")
    if problem["paths"]:
        yield f"  explains {counted(problem['paths'], 'failed path')}"
    if problem["repair"]:
        yield f"  repair: {problem['repair']}"


def _kinds(problems: Iterable[Problem]) -> str:
    severities = [problem["severity"] for problem in problems]
    return " and ".join(counted(severities.count(kind), kind) for kind in ("error", "warning") if kind in severities)
