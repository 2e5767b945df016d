# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a node runs for its peers, as a whole process without Ansible, against iproute2. I/O: the kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module
from kernel import DEVICE, OWN_MAC, Batches, Peer, entries, forget, new_device, node, peers, show
from measure import PYTHON, Row, Side, answer, by_turns, peak_memory

COUNTING = str(Path(__file__).with_name("counting.py"))
MODULE = Module("vxlan_peers")
SHORT = 5  # times that a run does what is short
LARGE = 5000  # peers from which on the start of Python is no excuse
CPU_LIMITS = {1000: 1.5, 5000: 0.5, 10000: 0.2}


@dataclass(frozen=True)
class Program:
    """Ours: makes exactly these peers reachable."""

    wanted: list[Peer]

    @property
    def text(self) -> bytes:
        plan = pack_plan(self.wanted)
        parameters = {"device": DEVICE, "plan": plan, "own": [OWN_MAC], "purge": True, "node": "node0"}
        return MODULE.program(MODULE.validated(parameters), check=False, diff=False)

    def side(self, expected: int, prepare: Callable[[], object] = lambda: None, times: int = 1) -> Side:
        """Ours, to be measured; it must make that many peers reachable, with one neighbour, fdb entry and route each."""
        text = self.text
        return Side(lambda: answer([*PYTHON, "-"], text), prepare, lambda said: self._check(json.loads(said), expected), times)

    def messages(self, expected: int) -> int:
        """How many changes one run asks the kernel for."""
        done = subprocess.run([*PYTHON, COUNTING], input=self.text, capture_output=True, check=True)
        self._check(json.loads(done.stdout), expected)
        return int(done.stderr)

    def _check(self, result: dict[str, Any], expected: int) -> None:
        assert not result.get("failed"), result
        kinds = [sum(command.startswith(kind) for command in result["commands"]) for kind in ("ip neigh", "bridge fdb", "ip route")]
        assert kinds == [expected] * 3, (kinds, expected, result["commands"][:9])
        assert result["changed"] == bool(expected), result["changed"]
        assert entries() == (len(self.wanted),) * 3, (entries(), len(self.wanted))


def from_nothing(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`program`: all peers on a new device."""
    ours, batches = Program(peers(n)), Batches(scratch, peers(n))
    with node():
        reference = Side(batches.load, new_device, lambda _: _check_reference(n))
        yield Row("program", n, "s CPU", *by_turns(ours.side(n, new_device), reference, runs), CPU_LIMITS.get(n))


def again(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`no-op`: everything is there already."""
    ours = Program(peers(n))
    with node():
        new_device()
        ours.side(n).cpu()
        yield Row("no-op", n, "s CPU", *by_turns(ours.side(0, times=SHORT), Side(show, times=SHORT), runs), 3 if n >= LARGE else None)
        memory = [peak_memory([*PYTHON, "-"], ours.text) for _ in range(runs)]
        yield Row("no-op memory", n, "MB", memory, limit=40)


def one_more(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`one peer more`: a peer has joined, against the run in which none has."""
    ours = Program(peers(n))
    last = ours.wanted[-1]
    with node():
        new_device()
        ours.side(n).cpu()
        joined = ours.side(1, lambda: forget(last), SHORT)
        yield Row("one peer more", n, "s CPU", *by_turns(joined, ours.side(0, times=SHORT), runs), 1.1)
        forget(last)
        yield Row("one peer more, messages", n, "messages", [ours.messages(1)], limit=4)


def _check_reference(n: int) -> None:
    assert entries() == (n,) * 3, (entries(), n)
