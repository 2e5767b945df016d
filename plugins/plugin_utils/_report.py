# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all forms of the report say of a verification: which paths are wrong and how, and its figures. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.plugin_utils._findings import ANSWER, REACH, SIZE
from ansible_collections.podnet.baremetal.plugins.plugin_utils._paths import LOSS, SOURCE, failures
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Node, Path

DIGITS = re.compile(r"(\d+)")


class Figures(NamedTuple):
    """A verification in numbers. `rtt`: the least, the median and the most, in milliseconds."""

    nodes: int
    verified: int
    paths: int
    answered: int
    wrong: int
    sent: int
    received: int
    rtt: tuple[float, float, float] | None
    commands: int
    errors: int
    warnings: int


def figures(document: Document) -> Figures:
    paths, nodes, problems = document["paths"], document["nodes"], document["problems"]
    trips = [path["rtt"] for path in paths if path["rtt"]]
    middle = (min(t[0] for t in trips), median(t[1] for t in trips), max(t[2] for t in trips)) if trips else None
    return Figures(
        nodes=len(nodes),
        verified=sum(node["state"] == "verified" for node in nodes.values()),
        paths=len(paths),
        answered=sum(path["received"] > 0 for path in paths),
        wrong=sum(bool(fault(path, nodes)) for path in paths),
        sent=sum(path["sent"] for path in paths),
        received=sum(path["received"] for path in paths),
        rtt=middle,
        commands=sum(len(node["drift"]["commands"]) for node in nodes.values() if node["drift"]),
        errors=sum(problem["severity"] == "error" for problem in problems),
        warnings=sum(problem["severity"] == "warning" for problem in problems),
    )


def fault(path: Path, nodes: Mapping[str, Node]) -> str:
    """What is wrong with a path, in a few words; "" for nothing."""
    words = {
        REACH: path["error"] or "no answer",
        ANSWER: f"answered by {path['answered']}",
        SOURCE: f"seen as {path['seen']}",
        SIZE: "a packet of the MTU does not fit" if path["fits"] is False else "a packet above the MTU went through",
        LOSS: f"{path['sent'] - path['received']} of {path['sent']} lost",
    }
    return next((words[kind] for kind in failures(path, nodes)), "")


def verdict(document: Document) -> str:
    """The whole verification in one sentence."""
    counts = figures(document)
    found = " and ".join(counted(number, word) for number, word in ((counts.errors, "error"), (counts.warnings, "warning")) if number)
    if found:
        return f"{found} found"
    if counts.wrong or counts.verified < counts.nodes:
        return "Not everything could be verified" if not counts.wrong else f"{counted(counts.wrong, 'path')} wrong, and no cause found"
    return "Everything that was tested is as it should be"


def counted(number: int, word: str) -> str:
    """2, path: 2 paths."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts node10 behind node9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in DIGITS.split(name)]


def milliseconds(value: float) -> str:
    """To the microsecond, and to three digits: 0.0834: 0.083, 1.234: 1.23, 12.34: 12.3."""
    decimals = max(1, 3 - len(str(int(value)))) + (value < 1)
    return f"{value:.{decimals}f}"
