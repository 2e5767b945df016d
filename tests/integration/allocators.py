# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that give many nodes their leases at once, each of which somebody may kill. I/O: etcd, processes, standard output.

`python allocators.py URL PROCESSES NODES KILLS SEED`: each process joins NODES nodes, one after the other. What a node was told is a
line, `node subnet`, of standard output. KILLS times one of the processes is killed, and another one begins with its first node again.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence

from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Ledger, Network, and_the_others, plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._commits import Flannel
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd import Access, Etcd
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import EtcdLedger, settled
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import EtcdPlace, etcd_place

NETWORK = Network.of("172.20.0.0/16")


def join(place: EtcdPlace, number: int) -> None:
    """Give a node its lease, as somebody does whose inventory has this node alone, and tell it."""
    name = f"node{number}"
    host = Host.of(name, f"198.51.{number >> 8}.{number & 255}")

    def change(ledger: Ledger | None, occupied: dict[str, str]) -> Ledger:
        return plan(ledger, NETWORK, and_the_others(ledger, [host]), occupied)

    _ledger, outcome = settled(lambda: EtcdLedger(Etcd(place, Access()), change, Flannel(place.prefix, 1, 8472)), check=False)
    os.write(1, f"{name} {outcome.facts['leases'][name]['subnets'][0]}\n".encode())


def start(place: EtcdPlace, numbers: Sequence[int], gate: int) -> int:
    """A process that waits at the gate, joins the nodes, and ends."""
    child = os.fork()
    if child:
        return child
    os.read(gate, 1)
    for number in numbers:
        join(place, number)
    os._exit(0)


def kill_one(running: dict[int, Sequence[int]], dice: random.Random) -> Sequence[int]:
    """Kill a process in the middle of whatever it does; the nodes that it was to join."""
    victim = dice.choice(sorted(running))
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    return running.pop(victim)


def main(url: str, processes: int, nodes: int, kills: int, seed: int) -> None:
    place = etcd_place(url)
    assert place
    gate, opened = os.pipe()
    each = [range(first, first + nodes) for first in range(1, 1 + processes * nodes, nodes)]
    running: dict[int, Sequence[int]] = {start(place, numbers, gate): numbers for numbers in each}
    os.write(opened, bytes(processes + kills))  # all of them start now
    dice = random.Random(seed)
    while running:
        if kills:
            kills -= 1
            numbers = kill_one(running, dice)
            running[start(place, numbers, gate)] = numbers
            time.sleep(dice.uniform(0, 0.1))
        child, status = os.waitpid(-1, os.WNOHANG if kills else 0)
        if child:
            assert status == 0, status
            del running[child]


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
