# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lease as its line in the ledger's text, and what such a line says: of all nodes at once. No I/O.

A run changes a few of what may be tens of thousands of lines. It compares them as they are, and makes a lease of none that stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

MEMBERS = ("underlay", "underlay6", "mac", "mac6", "state")  # of a node beside its subnets, in their order
BETWEEN = '", "'  # two subnets
COLONS = 4  # in the line of a lease with one IPv4 subnet, an IPv4 underlay address and no MAC: one follows each name
# Of what a line may lack, nothing is tried first: it is what most have, and the search takes two thirds of the time.
SECOND = r'(?:|, "([^"]+)")'
FURTHER = r'(?:|(?:"underlay6": "([^"]+)", )?(?:"mac": "([^"]+)", )?(?:"mac6": "([^"]+)", )?)'
ON_A_LINE = re.compile(
    rf'^    ("([^"]+)": {{"subnets": \["([^"]+)"{SECOND}\], "underlay": "([^"]+)", {FURTHER}"state": "([^"]+)"}}),?$', re.MULTILINE
)


class Line(NamedTuple):
    """The text, as json.dumps would write it, and what is in it, "" for what is not.

    Lines in the order of their texts are in that of their names: the quote after a name is before all that a name may have.
    """

    text: str
    name: str
    subnet: str
    second: str
    underlay: str
    underlay6: str
    mac: str
    mac6: str
    state: str

    @property
    def subnets(self) -> tuple[str, ...]:
        return (self.subnet, *self.second.split(BETWEEN)) if self.second else (self.subnet,)

    @property
    def macs(self) -> list[str]:
        return [mac for mac in (self.mac, self.mac6) if mac]

    @property
    def families(self) -> tuple[str, ...]:
        """Of the subnets and the underlay addresses, "" where there is none."""
        return tuple([text and ("6" if ":" in text else "4") for text in (self.subnet, self.second, self.underlay, self.underlay6)])


def line_of(name: str, subnets: Sequence[str], said: Iterable[str]) -> Line:
    """The line of a lease: `said` are its other members. What a valid lease has is nothing that JSON would have to escape.

    Raises ValueError for one without a subnet.
    """
    first, *others = subnets
    members = [f'"{member}": "{value}"' for member, value in zip(MEMBERS, said) if value]
    text = f'"{name}": {{"subnets": ["{BETWEEN.join(subnets)}"], {", ".join(members)}}}'
    return Line(text, name, first, BETWEEN.join(others), *said)


def lines_in(text: str, start: int) -> list[Line]:
    """The lines of nodes that the text has from there to its last two lines. Raises ValueError where it has something else."""
    lines = list(map(partial(tuple.__new__, Line), ON_A_LINE.findall(text, start)))  # Line._make without a call for each
    if (text.count("\n", start), text.count("},\n", start)) != (len(lines) + 2, len(lines) - 1):
        raise ValueError("not each line is that of a node")
    return lines
