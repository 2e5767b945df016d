# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of a cluster that is new: planned, written, read back and packed for its nodes. I/O: the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import MODE, read, text
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Ledger, Network, peers_of, plan
from measure import Row

CLUSTER = "10.0.0.0/11"  # 8,192 subnets of /24
SERVICE = "10.68.0.0/16"


def underlay(number: int) -> str:
    """RFC 2544 has the only range for benchmarks with room for thousands of hosts: 198.18.0.0/15."""
    return f"198.18.{number >> 8}.{number & 255}"


def planned(addresses: dict[str, str]) -> Ledger:
    """The ledger of hosts by their underlay addresses, from nothing."""
    return plan(None, Network.of(CLUSTER, SERVICE), [Host.of(name, address) for name, address in addresses.items()])


def write(path: Path, ledger: Ledger) -> None:
    write_atomically(str(path), text(ledger), MODE)


def from_nothing(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    addresses = {f"node{number}": underlay(number) for number in range(1, n + 1)}
    spent = [_run(addresses, scratch / f"ledger-{n}-{number}.json") for number in range(runs)]
    yield Row("ledger and plan", n, "s CPU", [processor for processor, _ in spent], limit=1)
    yield Row("ledger and plan, wall", n, "s", [wall for _, wall in spent], limit=1)


def _run(addresses: dict[str, str], path: Path) -> tuple[float, float]:
    """Seconds of CPU, and by the clock."""
    start = (time.process_time(), time.perf_counter())
    made = planned(addresses)
    write(path, made)
    ledger = read(str(path))
    packed = pack_plan(asdict(peer) for peer in peers_of(ledger, made.leases[0].name)) if ledger else ""
    spent = (time.process_time() - start[0], time.perf_counter() - start[1])
    assert packed
    assert ledger == made
    assert len(made.leases) == len(addresses)
    return spent
