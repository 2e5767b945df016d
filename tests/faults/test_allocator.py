# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An allocator that is killed at each of its system calls in turn, and what its successors find. I/O: processes, a temporary directory."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LedgerFile, read
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Ledger, Network, plan
from killed import killed_after


def joined(ledger: Ledger | None, number: int) -> Ledger:
    """What an allocator makes of the ledger that knows its nodes and one more."""
    here = [Host(lease.name, lease.underlay) for lease in ledger.leases if lease.name != f"node{number}"] if ledger else []
    return plan(ledger, Network.of("172.20.0.0/16"), [*here, Host(f"node{number}", f"198.51.{number >> 8}.{number & 255}")])


def granted(path: Path, number: int) -> str:
    """Join a node, and say which subnet it has."""
    outcome = converge(LedgerFile(str(path), partial(joined, number=number)), check=False)
    return str(outcome.facts["leases"][f"node{number}"]["subnets"][0])


def held(path: Path) -> dict[str, str]:
    """Who has what: `read` refuses a file that is torn, and a subnet that two nodes have."""
    ledger = read(str(path))
    return {lease.name: lease.subnets[0] for lease in ledger.leases} if ledger else {}


@pytest.mark.parametrize("first", ["a ledger", "no ledger"])
def test_an_allocator_killed_at_any_system_call_loses_and_doubles_nothing(tmp_path: Path, first: str) -> None:
    history: dict[str, str] = {}
    written = 0
    for stops in range(1, 10_000):
        directory = tmp_path / (str(stops) if first == "no ledger" else "one")
        directory.mkdir(exist_ok=True)
        path = directory / "ledger.json"
        before = held(path)
        alive, told = killed_after(stops, partial(granted, path, stops))
        after = held(path)
        assert after in (before, {**before, f"node{stops}": after.get(f"node{stops}")}), f"killed at stop {stops}"
        assert told in ("", after.get(f"node{stops}")), "what was told is kept"
        assert {name for name in os.listdir(directory) if not name.startswith(".ledger.json.")} <= {"ledger.json"}
        written += after != before
        history[f"node{stops}"] = granted(path, stops)  # by the next allocator, which waits for nobody
        assert after.get(f"node{stops}", history[f"node{stops}"]) == history[f"node{stops}"]
        assert os.listdir(directory) == ["ledger.json"], "and sweeps up behind the dead one"
        if not alive:
            break
    assert stops > 50, "there were no system calls to be killed at"
    assert 1 < written < stops - 1, "some died before, some after"
    if first == "a ledger":
        assert held(path) == history
