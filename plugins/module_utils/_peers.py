# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of a VXLAN device as targets: one of them, or all that a node's peers need. I/O through the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import about, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_device
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel, KernelTarget
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    Entry,
    FdbEntry,
    PodRoute,
    StaticNeigh,
    scope_of,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import peer_objects

PEER_RANKS = frozenset({StaticNeigh.rank, FdbEntry.rank, PodRoute.rank})


def entry_target(node: str, entry: Entry, state: str) -> KernelTarget:
    """The target of the modules for one entry: it is there, or it is not."""
    scope = scope_of(entry.device, [entry])
    return KernelTarget(node, entry.device, scope, (entry,) if state == "present" else (), kernel=Kernel.writable(node))


def peers_target(node: str, device: str, peers: Iterable[Mapping[str, Any]], *, purge: bool) -> KernelTarget:
    """The target of `vxlan_peers`: every entry that these peers need on the device and, when `purge`, none of ours beside."""
    kernel = Kernel.writable(node)
    valid_device(node, "device", device)
    with about(node):
        entries = peer_objects(device, peers)
        own = kernel.vtep(device)
    for entry in entries:
        if isinstance(entry, FdbEntry) and own and entry.mac == own.mac:
            raise refuse(node, "the mac of a peer", entry.mac, f"{device} itself has it; leave this node out of its own peers")
        if isinstance(entry, FdbEntry) and own and entry.destination == own.local:
            raise refuse(
                node, "the underlay of a peer", entry.destination, f"{device} itself sends from it; leave this node out of its own peers"
            )
    scope = scope_of(device, entries, purge=PEER_RANKS if purge else frozenset())
    return KernelTarget(node, device, scope, entries, kernel=kernel)
