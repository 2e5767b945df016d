# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generation of the ledger that last changed this node, so that no older one undoes it. I/O: one small file; standard library only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import packed_address

RECORD = "/var/lib/podnet.json"
HOW = "say podnet_older_ledger: true (older: true)"


class Generation(NamedTuple):
    """The ledger that a plan was made of. Two are of one cluster where their ranges meet: a range may grow, but not leave a node."""

    number: int
    cluster_cidrs: tuple[str, ...]

    def is_older(self, other: Generation) -> bool:
        ours, theirs = list(map(_block, self.cluster_cidrs)), list(map(_block, other.cluster_cidrs))
        return any(_meet(*pair) for pair in product(ours, theirs)) and self.number < other.number

    def record(self) -> None:
        """Write it down, before what it brings. The caller holds the node's lock, so that the temporary file is nobody else's."""
        directory, name = os.path.split(RECORD)
        temporary = f"{directory}/.{name}.podnet-"  # as _files calls its own, and sweeps up
        try:
            with open(temporary, "w", encoding="ascii") as file:
                json.dump({"generation": self.number, "cluster_cidr": self.cluster_cidrs}, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, RECORD)
        except OSError as error:
            raise Failed(f"{RECORD}: cannot be written: {error.strerror}.") from error


def recorded(node: str) -> Generation | None:
    """What is written down on this node. Raises Refused where it cannot be understood."""
    try:
        with open(RECORD, encoding="ascii") as file:
            said = json.load(file)
        known = Generation(int(said["generation"]), tuple(said["cluster_cidr"]))
        known.is_older(known)
    except FileNotFoundError:
        return None
    except (ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise refuse(node, RECORD, "damaged", f"{error!r}; remove it, or {HOW}") from error
    return known


def refuse_older(node: str, options: Mapping[str, Any]) -> Generation | None:
    """The generation that the options bring, None where they name no ledger. Raises Refused where the node has a newer one."""
    if not options.get("generation"):
        return None
    brought = Generation(options["generation"], tuple(options["cluster_cidrs"]))
    known = None if options.get("older") else recorded(node)
    if known and brought.is_older(known):
        have = f"this node was last changed by generation {known.number} ({RECORD})"
        raise refuse(node, "the generation of the ledger", brought.number, f"{have}: take the newer ledger, or {HOW} to go back")
    return brought


def _block(cidr: str) -> tuple[int, int, int]:
    """The bits of its family, its first address and its length."""
    address, length = cidr.split("/")
    packed = packed_address(address)
    return 8 * len(packed), int.from_bytes(packed, "big"), int(length)


def _meet(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether they share an address: then one holds the other, and they agree in the bits of the shorter prefix."""
    differing = one[0] - min(one[2], other[2])
    return one[0] == other[0] and one[1] >> differing == other[1] >> differing
