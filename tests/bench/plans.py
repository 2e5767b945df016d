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
from measure import PYTHON, Row, answer, peak_memory

NAMES = ("ledger and plan", "ledger and plan, wall", "ledger, read", "ledger, bytes")
CLUSTER = "10.0.0.0/11"  # 8,192 subnets of /24
SERVICE = "10.68.0.0/16"
COLLECTIONS = Path(__file__).resolve().parents[2] / "build" / "collections"
MIB = 1 << 20
# What pod_subnet does with so many hosts, once it has their variables: reads and checks the ledger, plans, writes, and looks again.
ALLOCATE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import target
path, count, changes = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
hosts = [
    {"name": f"node{n}", "underlay": f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}", "subnet": None, "node_prefix": None, "mac": None}
    for n in range(1, count + 1)
]
unset = dict.fromkeys(("node_prefix", "reserved", "name"))
network = {"cluster_cidr": "10.0.0.0/8", "service_cidr": "172.30.0.0/16"}
start = time.process_time()
outcome = converge(target({"ledger": path, "state": "present", "hosts": hosts, "brief": True, **network, **unset}), check=False)
print(time.process_time() - start)
assert len(outcome.changes) == changes, len(outcome.changes)
"""


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
    path = scratch / f"ledger-{n}-0.json"
    yield Row("ledger, read", n, "ms CPU", [_read(path) for _ in range(runs)])
    yield Row("ledger, bytes", n, "kB", [path.stat().st_size / 1000])


def as_many_as_fit(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """n leases from nothing, and the last of n, each in a process of its own by the distribution's Python."""
    empty, nearly = scratch / "leases.json", scratch / "leases-but-one.json"
    answer(*_allocation(nearly, n - 1, n))  # each node, and the network
    held = nearly.read_text()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        empty.unlink(missing_ok=True)
        spent[0].append(float(answer(*_allocation(empty, n, n + 1))))
        nearly.write_text(held)
        spent[1].append(float(answer(*_allocation(nearly, n, 1))))
    yield Row("leases from nothing", n, "s CPU", spent[0], limit=2)
    yield Row("one lease more", n, "s CPU", spent[1], limit=0.5)
    empty.unlink()
    nearly.write_text(held)
    peaks = [peak_memory(*_allocation(empty, n, n + 1)), peak_memory(*_allocation(nearly, n, 1))]
    yield Row("leases, memory", n, "MiB", [max(peaks) * 1e6 / MIB], limit=150)


def _allocation(path: Path, count: int, changes: int) -> tuple[list[str], bytes]:
    return [*PYTHON, "-", str(COLLECTIONS), str(path), str(count), str(changes)], ALLOCATE.encode()


def _read(path: Path) -> float:
    """CPU milliseconds that reading and checking a ledger takes."""
    start = time.process_time()
    assert read(str(path))
    return (time.process_time() - start) * 1000


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
