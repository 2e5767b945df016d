# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of the ledger as transactions of etcd, each of which leaves a whole ledger and flannel's keys of its leases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LineChange, line_changes, text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE, CLUSTER, INVENTORY, MAC, Lease, Ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import (
    CONFIG,
    FlannelLease,
    config_of,
    flannel_leases,
    lease_of,
    networks_in,
)
from ansible_collections.podnet.baremetal.plugins.plugin_utils._occupied import keys_of, overlapping, spans_of
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import OPERATIONS, Operation, Stored

LEDGER = "podnet/ledger"
ROOM = OPERATIONS - 2  # beside the ledger itself and flannel's configuration


class Flannel(NamedTuple):
    """What flannel's keys say beside the leases, and below which prefix they are."""

    prefix: str
    vni: int
    port: int


class Commit(NamedTuple):
    """One transaction, the ledger after it, and what it comes to for a person."""

    ledger: Ledger
    operations: tuple[Operation, ...]
    changes: tuple[LineChange, ...]


def commits(keys: Mapping[str, Stored], before: Ledger | None, after: Ledger, flannel: Flannel) -> list[Commit]:
    """The transactions that bring etcd from what it holds to the ledger `after`. The generation grows by one with each new ledger.

    What takes a subnet or a MAC from another lease is done first and at once, with that one. What remains can be done in any order, and
    goes in parts that etcd takes: it takes only what nobody had.
    """
    wanted = flannel_leases(after, flannel.vni)
    _check_flannel(keys, wanted)
    operations = _by_name(keys, before, wanted)
    found: list[Commit] = []
    ledger = before
    for names in _parts(before, after, operations):
        part = [each for name in names for each in operations.get(name, ())]
        new = _with(ledger, after, names)
        found.append(_commit(keys, ledger, new, part if found else [*_config(keys, before, after, flannel), *part], flannel.prefix))
        ledger = new
    return [commit for commit in found if commit.operations]


def _commit(keys: Mapping[str, Stored], old: Ledger | None, new: Ledger, operations: Sequence[Operation], prefix: str) -> Commit:
    document = [Operation(LEDGER, text(new))] if new != old else []
    lines = line_changes(old, new) + [_line(keys, operation, prefix) for operation in operations]
    return Commit(new, (*document, *operations), tuple(lines))


def _line(keys: Mapping[str, Stored], operation: Operation, prefix: str) -> LineChange:
    key = f"{prefix}/{operation.key}"
    before = f"{key} {keys[operation.key].value}" if operation.key in keys else ""
    if operation.value is None:
        return LineChange(f"etcdctl del '{key}'", before, "")
    return LineChange(f"etcdctl put '{key}' '{operation.value}'", before, f"{key} {operation.value}")


# --- the parts ------------------------------------------------------------------------------------------------------------


def _parts(before: Ledger | None, after: Ledger, operations: Mapping[str, Sequence[Operation]]) -> Iterator[list[str]]:
    """The names of the leases that each transaction is about."""
    old, new = _by_lease(before), _by_lease(after)
    together = _together(before, after)
    number = sum(len(operations.get(name, ())) for name in together)
    if number > ROOM:
        why = f"they change {number} keys at once and one transaction of etcd takes {ROOM}: move fewer in one run"
        raise refuse(INVENTORY, "the number of nodes that exchange subnets", len(together), why)
    part, room = sorted(together), ROOM - number
    changed = {name for name in {**old, **new} if new.get(name) != old.get(name)}
    # Nodes that leave go first: one that comes may have the underlay address of one of them.
    for name in sorted({*operations, *changed} - together, key=lambda name: (name in new and new[name].state == ACTIVE, name)):
        cost = max(1, len(operations.get(name, ())))
        if cost > room:
            yield part
            part, room = [], ROOM
        part, room = [*part, name], room - cost
    yield part


def _together(before: Ledger | None, after: Ledger) -> set[str]:
    """The names of the leases that get a subnet or a MAC which others have before, and of these others."""
    old = _by_lease(before)
    spans, macs = spans_of(old.values()), {lease.vtep_mac: lease for lease in old.values()}
    found: set[str] = set()
    for lease in (lease for lease in after.leases if lease != old.get(lease.name)):
        met = [macs.get(lease.vtep_mac, lease), *(other for subnet in lease.subnets for _span, other, _end in overlapping(spans, subnet))]
        others = {other.name for other in met} - {lease.name}
        found |= {lease.name, *others} if others else set()
    return found


def _with(ledger: Ledger | None, after: Ledger, names: Iterable[str]) -> Ledger:
    """The ledger with the leases of these names as they are after it."""
    new = _by_lease(after)
    changed = {name: new[name] for name in names if name in new}
    kept = {name: lease for name, lease in _by_lease(ledger).items() if name in new or name not in set(names)}
    leases = tuple(lease for _name, lease in sorted({**kept, **changed}.items()))
    generation = ledger.generation if ledger else 0
    found = Ledger(generation, after.network, leases)
    return found if found == ledger else replace(found, generation=generation + 1)


def _by_lease(ledger: Ledger | None) -> dict[str, Lease]:
    return {lease.name: lease for lease in (ledger.leases if ledger else ())}


# --- flannel's keys -------------------------------------------------------------------------------------------------------


def _by_name(keys: Mapping[str, Stored], before: Ledger | None, wanted: Mapping[str, FlannelLease]) -> dict[str, list[Operation]]:
    """What is to be done to flannel's keys, by the name of the node whose lease it belongs to."""
    puts = {lease.key: (name, lease.value) for name, lease in wanted.items()}
    found: dict[str, list[Operation]] = {}
    for key, name in keys_of(before, keys).items():
        if key not in puts:
            found.setdefault(name, []).append(Operation(key, None))
    for key, (name, value) in puts.items():
        stored = keys.get(key)
        if stored is None or not (stored.ttl or stored.value == value):
            found.setdefault(name, []).append(Operation(key, value))
    return found


def _check_flannel(keys: Mapping[str, Stored], wanted: Mapping[str, FlannelLease]) -> None:
    """A node whose own flanneld keeps its key has the MAC that the others are told."""
    for name, lease in wanted.items():
        stored = keys.get(lease.key)
        said = lease_of(lease.key, stored.value) if stored and stored.ttl else None
        if said and said.macs != lease.macs:
            why = (
                f"flanneld runs on this node and tells others {', '.join(said.macs)}: set {MAC} to that, or stop it and delete {lease.key}"
            )
            raise refuse(name, MAC, ", ".join(lease.macs), why)


def _config(keys: Mapping[str, Stored], before: Ledger | None, after: Ledger, flannel: Flannel) -> list[Operation]:
    """flannel's configuration where there is none, or one that we wrote. Another one stays, if it is about the same ranges."""
    text = config_of(after, flannel.vni, flannel.port)
    there = keys[CONFIG].value if CONFIG in keys else None
    if there is None or (before and there == config_of(before, flannel.vni, flannel.port)):
        return [Operation(CONFIG, text)] if there != text else []
    if networks_in(there) != networks_in(text):
        raise _another_network(after, there)
    return []


def _another_network(ledger: Ledger, config: str) -> Refused:
    networks = networks_in(config)
    said = f"is for {', '.join(networks)}" if networks else "cannot be read"
    why = f"flannel's key {CONFIG} {said}: correct one of them, or give this cluster a prefix of its own in podnet_ledger"
    return refuse(INVENTORY, CLUSTER, ", ".join(ledger.network.cluster_cidrs), why)
