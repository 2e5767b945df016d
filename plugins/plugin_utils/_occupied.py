# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flannel's keys in etcd that are not of the ledger's leases, and what they mean to it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network
from itertools import takewhile
from operator import itemgetter

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE, PIN, UNDERLAY, Lease, Ledger, capacity
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import SUBNETS, flannel_leases, lease_of
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import Stored

Span = tuple[int, int, int]  # the IP version of a network, its last address and its first
Held = tuple[Span, Lease, str]


def keys_of(ledger: Ledger | None, keys: Mapping[str, Stored]) -> dict[str, str]:
    """The keys of a ledger's leases that are there and ours, with the names of their nodes."""
    ours = {}
    for name, lease in flannel_leases(ledger, 1).items():
        stored = keys.get(lease.key)
        said = lease_of(lease.key, stored.value) if stored else None
        if stored and not stored.ttl and (said is None or said.underlays == lease.underlays):
            ours[lease.key] = name
    return ours


def occupied(keys: Mapping[str, Stored], ledger: Ledger | None) -> dict[str, str]:
    """The subnets of flannel's other keys, each with the address of its node, "" for none.

    One is not the ledger's if no lease has its name and its node, or if it ends by itself: then a running flanneld renews it.
    """
    ours = keys_of(ledger, keys)
    found = {key: lease_of(key, stored.value) for key, stored in keys.items() if key.startswith(SUBNETS) and key not in ours}
    return {subnet: (*lease.underlays, "")[0] for lease in found.values() if lease for subnet in lease.subnets}


def check_occupied(ledger: Ledger | None, occupied: Mapping[str, str]) -> None:
    """No node has what another has without the ledger; and what a node of the ledger has without it is the same as in it."""
    leases = sorted(ledger.leases if ledger else (), key=lambda lease: lease.state == ACTIVE)
    holders = {lease.underlay: lease for lease in leases}
    held = spans_of(leases)
    for subnet, address in occupied.items():
        holder = holders.get(address)
        if holder and subnet in holder.subnets:
            continue
        if holder and holder.state == ACTIVE:
            raise _renumbered(holder, subnet)
        for _span, lease, shared in overlapping(held, subnet):
            what = PIN if lease.why == "pinned" else "its lease"
            raise refuse(lease.name, what, shared, f"{address or 'somebody else'} has {subnet}: no two nodes can share an address")


def capacity_beside(ledger: Ledger, occupied: Iterable[str]) -> dict[str, int]:
    """How many nodes still fit in beside the ledger's and the others."""
    reserved = (*ledger.network.reserved, *occupied)
    return capacity(replace(ledger, network=replace(ledger.network, reserved=reserved)))


def _renumbered(lease: Lease, subnet: str) -> Refused:
    why = f"it has the subnet {subnet} already, and the plan is {', '.join(lease.subnets)}: pin that one with {PIN}"
    return refuse(lease.name, UNDERLAY, lease.underlay, f"{why}, or take it away from where it is")


def spans_of(leases: Iterable[Lease]) -> list[Held]:
    """The subnets of leases, which are apart, in order."""
    return sorted(((_span(subnet), lease, subnet) for lease in leases for subnet in lease.subnets), key=itemgetter(0))


def overlapping(held: Sequence[Held], subnet: str) -> Iterator[Held]:
    """Those that share an address with this subnet."""
    version, last, first = _span(subnet)
    start = bisect_left(held, (version, first, 0), key=itemgetter(0))
    following = map(held.__getitem__, range(start, len(held)))
    return takewhile(lambda each: each[0][0] == version and each[0][2] <= last, following)


def _span(subnet: str) -> Span:
    network = ip_network(subnet)
    return network.version, int(network.broadcast_address), int(network.network_address)
