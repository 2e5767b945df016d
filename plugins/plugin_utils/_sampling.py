# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a node is tested with where there are too many for all pairs in every run. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def sample(names: Sequence[str], node: str, each: int, run: int) -> list[str]:
    """So many others of a node; all of them for 0.

    Each run goes on where the one before it ended, so that ceil((n - 1) / each) runs in a row cover every ordered pair, and in every
    run each node is tested by as many others as it tests.
    """
    others = len(names) - 1
    place = names.index(node)
    if not 0 < each < others:
        return [name for name in names if name != node]
    steps = [1 + (run * each + step) % others for step in range(each)]
    return [names[(place + step) % len(names)] for step in steps]
