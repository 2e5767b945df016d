# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node keeps for its peers: entries in the kernel's tables and their memory, and the files for boot. I/O: the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import peers_text
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import peers_target
from kernel import DEVICE, OWN_MAC, entries, new_device, node, peers
from measure import Row, answer
from programs import MODULE, Program

NAMES = ("tables, entries", "tables, nexthops", "tables, memory", "tables, file for boot")
# proc_meminfo(5). Each fdb entry and each nexthop has a part for each processor (dst_cache_init(), fib_nh_common_init()).
KERNEL_MEMORY = ("Slab", "Percpu")


def tables(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`tables`: n peers. Memory is the machine's, so with few peers it is lost in what others take meanwhile."""
    ours = Program(peers(n)).side(n)
    memory = []
    with ExitStack() as nodes:  # all of them at once: what one gives back would be counted to the next
        for _ in range(runs):
            nodes.enter_context(node())
            new_device()
            before = kernel_memory()
            ours.cpu()
            memory.append(kernel_memory() - before)
        yield Row(NAMES[0], n, "entries", [sum(entries())])
        yield Row(NAMES[1], n, "nexthops", [len(answer(["ip", "nexthop", "show"]).splitlines())])
        yield Row(NAMES[2], n, "MB", memory)
        yield Row(NAMES[3], n, "kB", [len(_text(n)) / 1000])


def kernel_memory() -> float:
    """MB that the kernel has taken for its own objects."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return sum(kilobytes[name] for name in KERNEL_MEMORY) * 1024 / 1e6


def _text(n: int) -> str:
    options = MODULE.validated({"device": DEVICE, "plan": pack_plan(peers(n)), "own": [OWN_MAC], "node": "node0"})
    return peers_text(peers_target(options).objects())
