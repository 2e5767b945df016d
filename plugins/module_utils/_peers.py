# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a node's peers need, as one target: neighbours, fdb entries, nexthops, routes, the firewall. I/O; standard library only."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any, NamedTuple, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change, changes
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, about, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry, fdb_head
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import Generation, refuse_older
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import FAMILY, Interface, Table, address_text, packed_mac
from ansible_collections.podnet.baremetal.plugins.module_utils._nexthop import NEXTHOPS, Nexthop, nexthop_head
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock, node_name, refuse_flanneld, require_net_admin
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import ENTRIES, Entry
from ansible_collections.podnet.baremetal.plugins.module_utils._peer_sets import FileChange, PeerSets, SetChange
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import (
    ROUTES,
    PodRoute,
    nexthop_and_gateway,
    nexthop_number,
    nexthop_route_head,
    route_head,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import interface
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh, neighbour_shape
from ansible_collections.podnet.baremetal.plugins.module_utils._tables import Tables, carry_out
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import Row, unpack

# With as many pod subnets as this each route brings its own gateway; with more each names a nexthop object. The kernel keeps gateways
# in a hash of their interfaces (fib_info_hashfn()), so all of ours are in one chain, which it walks for every new one: n routes cost n
# squared. A nexthop is hashed by its number. But `ip route del SUBNET via GATEWAY`, flanneld's way, does not find a route by nexthop.
MOST_WITHOUT_NEXTHOPS = 1000
# Up to so many changes are proved by asking for each of them, more by looking at the tables again.
FEW = 64
WHOLE = 1 << 16  # longer than any answer
IPV4, IPV6 = 4, 16  # the size of a packed address
ITSELF = "leave this node out of its own peers"


Step = Union[Change, SetChange, FileChange]


class Wanted(NamedTuple):
    """What is wanted of one table: the head of each answer with the row that it comes from, and what to make of rows and of other answers.

    `sizes` has the length of a head by an answer's first byte, its family.
    """

    table: Table | None  # None where there is no device, and so nothing in the table
    heads: Mapping[bytes, Row]
    sizes: Mapping[int, int]
    entry: Callable[[Row], Entry]
    parse: Callable[[Sequence[bytes]], Iterable[Entry | None]]
    # Whether one look is not enough: a dump of the fdb under concurrent change can miss an entry or show one twice, and no flag says so.
    # What a dump misses is asked for by itself; where that would be much asking, two dumps must agree.
    twice: bool = False


class PeersTarget:
    """The tables of a VXLAN device as its peers need them and, when `purge`, with nothing else of ours.

    `through` has the device by the size of a pod subnet's address: one for all, or one for each family.
    """

    ledger: Generation | None = None  # the one that they come from

    def __init__(self, node: str, through: Mapping[int, str], rows: Sequence[Row], *, purge: bool, nexthops: str) -> None:
        self._devices = tuple(dict.fromkeys(through.values()))
        self.name = ", ".join(self._devices)
        self._node = node
        self._through = through
        self._rows = rows
        self._purge = purge
        self._nexthops = nexthops
        self._tables = Tables()
        self._made: Sequence[Change] = ()
        self._wants: dict[tuple[Interface, ...], Sequence[Wanted]] = {}

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Change]:
        """What is still to be done. After a few changes it is enough to ask for these, since the rest was right just before."""
        with about(self._node):
            made, self._made = self._made, ()
            if 0 < len(made) <= FEW and all(isinstance(step.new, ENTRIES) and self._tables.has(step.new) for step in made):
                return []
            looks = [self._look(wanted) for wanted in self._wanted(tuple(map(interface, self._devices)))]
            return changes(
                [entry for missing, _others in looks for entry in missing], [entry for _missing, others in looks for entry in others]
            )

    def apply(self, steps: Sequence[Change]) -> None:
        with about(self._node):
            if self.ledger:
                self.ledger.record()
            carry_out(steps, self._tables.send)
        self._made = steps

    def facts(self) -> dict[str, Any]:
        return {}

    def objects(self) -> list[Entry]:
        """All that is wanted, in the order in which it is made."""
        return [wanted.entry(row) for wanted in self._wanted(tuple(map(interface, self._devices))) for row in wanted.heads.values()]

    @property
    def underlays(self) -> frozenset[bytes]:
        """The packed underlay addresses of the peers."""
        return frozenset(row[1] for row in self._rows)

    def refuse_itself(self) -> None:
        """Refuse a plan by which the node would reach itself through the overlay."""
        for device in self._devices:
            own = self._tables.vtep(device)
            for row in self._carried(device) if own else ():
                if own and row[0] == own.mac:
                    raise refuse(self._node, "the mac of a peer", row[0].hex(":"), f"{device} itself has it; {ITSELF}")
                if own and row[1] == own.local:
                    raise refuse(self._node, "the underlay of a peer", address_text(row[1]), f"{device} itself sends from it; {ITSELF}")

    def _carried(self, device: str) -> Sequence[Row]:
        return self._rows if self.name == device else [row for row in self._rows if self._through[len(row[2])] == device]

    def _look(self, wanted: Wanted) -> tuple[list[Entry], list[Entry]]:
        """What is wanted and not there, and what is there and stands in its place or is to go."""
        seen, others = self._compare(wanted)
        if wanted.twice and (others or len(wanted.heads) - len(seen) > FEW):
            seen_again, others_again = self._compare(wanted)
            seen, others = seen | seen_again, [entry for entry in others if entry in set(others_again)]
        missing = [wanted.entry(row) for head, row in wanted.heads.items() if head not in seen]
        if wanted.twice and len(missing) <= FEW:
            missing = [entry for entry in missing if not self._tables.has(entry)]
        keys = {entry.key for entry in missing} if others else set()
        return missing, [entry for entry in others if entry.key in keys or self._surplus(entry, wanted)]

    def _compare(self, wanted: Wanted) -> tuple[set[bytes], list[Entry]]:
        if wanted.table is None:
            return set(), []
        seen, bodies = self._tables.socket.compare(wanted.table, wanted.heads, wanted.sizes)
        return seen, [entry for entry in wanted.parse(bodies) if entry]

    def _surplus(self, entry: Entry, wanted: Wanted) -> bool:
        if not entry.owned:
            return False
        return (self._purge and entry.device in self._devices) or any(wanted.entry(row).key == entry.key for row in wanted.heads.values())

    def _wanted(self, interfaces: tuple[Interface, ...]) -> Sequence[Wanted]:
        if interfaces not in self._wants:  # the look after the changes wants the same
            self._wants = {interfaces: self._wanted_of({each.name: each for each in interfaces})}
        return self._wants[interfaces]

    def _wanted_of(self, interfaces: Mapping[str, Interface]) -> Sequence[Wanted]:
        fours = [row for row in self._rows if len(row[2]) == IPV4]
        many = self._nexthops == "always" or (self._nexthops == "auto" and len(fours) > MOST_WITHOUT_NEXTHOPS)
        by_nexthop = many and self._tables.has_nexthops
        tables = [table(on) for table in (self._neighbours, self._fdb) for on in interfaces.values()]
        if self._tables.has_nexthops:
            tables.append(self._nexthop_objects(interfaces[self._through[IPV4]], fours if by_nexthop else []))
        return [*tables, self._routes(interfaces, by_nexthop=by_nexthop)]

    def _neighbours(self, on: Interface) -> Wanted:
        shapes = {size: neighbour_shape(on.ifindex, family) for size, family in FAMILY.items()}
        heads = {shapes[len(row[2])].filled(row[2], row[0]): row for row in self._carried(on.name)}
        return Wanted(
            StaticNeigh.table(on),
            heads,
            _sizes(heads),
            lambda row: StaticNeigh(on.name, address_text(row[2]), row[0].hex(":")),
            lambda bodies: (StaticNeigh.parse(body, on) for body in bodies),
        )

    def _fdb(self, on: Interface) -> Wanted:
        shapes = {size: fdb_head(on.ifindex, family) for size, family in FAMILY.items()}
        heads = {shapes[len(row[1])].filled(row[0], row[1]): row for row in self._carried(on.name)}
        return Wanted(
            FdbEntry.table(on),
            heads,
            _sizes(heads),
            lambda row: FdbEntry(on.name, row[0].hex(":"), address_text(row[1])),
            lambda bodies: (FdbEntry.parse(body, on) for body in bodies),
            twice=True,
        )

    def _nexthop_objects(self, on: Interface, rows: Sequence[Row]) -> Wanted:
        shape = nexthop_head(on.ifindex)
        return Wanted(
            NEXTHOPS,
            {shape.filled(nexthop_number(row[2]), row[2]): row for row in rows},
            {socket.AF_INET: WHOLE},
            lambda row: Nexthop(on.name, int.from_bytes(row[2], "big"), address_text(row[2])),
            lambda bodies: (Nexthop.parse(body, on) for body in bodies),
        )

    def _routes(self, interfaces: Mapping[str, Interface], *, by_nexthop: bool) -> Wanted:
        kinds = [(interfaces[self._through[size]].ifindex, size, length) for size, length in {(len(row[2]), row[3]) for row in self._rows}]
        shapes = {
            (size, length): nexthop_route_head(index, length) if by_nexthop and size == IPV4 else route_head(index, FAMILY[size], length)
            for index, size, length in kinds
        }
        middle = nexthop_and_gateway if by_nexthop else bytes
        heads = {shapes[len(row[2]), row[3]].filled(row[2], middle(row[2]) if len(row[2]) == IPV4 else row[2]): row for row in self._rows}
        return Wanted(
            ROUTES,
            heads,
            {**_sizes(heads), socket.AF_INET: WHOLE},
            lambda row: self._route(row, by_nexthop=by_nexthop),
            self._tables.routes,
        )

    def _route(self, row: Row, *, by_nexthop: bool) -> PodRoute:
        gateway = address_text(row[2])
        number = int.from_bytes(row[2], "big") if by_nexthop and len(row[2]) == IPV4 else 0
        return PodRoute(self._through[len(row[2])], f"{gateway}/{row[3]}", gateway, nexthop=number)


class GuardedPeers(NamedTuple):
    """The peers and the firewall that lets them in: a new one's address before its entries, and one that left goes after them."""

    node: str
    entries: PeersTarget
    sets: PeerSets

    @property
    def name(self) -> str:
        return self.entries.name

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        sets = self.sets.drift()
        return [*(step for step in sets if not step.delete), *self.entries.drift(), *(step for step in sets if step.delete)]

    def apply(self, steps: Sequence[Step]) -> None:
        done: list[str] = []
        for of_entries, group in groupby(steps, key=lambda step: isinstance(step, Change)):
            block = list(group)
            try:
                if of_entries:
                    self.entries.apply([step for step in block if isinstance(step, Change)])
                else:
                    with about(self.node):
                        self.sets.apply([step for step in block if not isinstance(step, Change)])
            except Failed as error:
                raise Failed(str(error), [*done, *error.done], passing=error.passing) from error
            done += [step.command for step in block]

    def facts(self) -> dict[str, Any]:
        return {}

    def objects(self) -> list[Entry]:
        return self.entries.objects()


def guarded_target(options: Mapping[str, Any]) -> PeersTarget | GuardedPeers:
    """The target of `vxlan_peers`: the peers, with the `firewall` where that is to let them in."""
    entries = peers_target(options)
    path = options.get("firewall")
    return GuardedPeers(node_name(options), entries, PeerSets(path, entries.underlays)) if path else entries


def peers_target(options: Mapping[str, Any]) -> PeersTarget:
    """What every node of the `plan` needs, but for the node whose devices have the MACs `own`."""
    node = node_name(options)
    require_net_admin(node)
    if not options["plan"]:
        raise Refused(f"{node}: vxlan_peers got its ledger or peers without the action plugin of its name, which makes a plan of them.")
    refuse_flanneld(node, options)
    own = set(map(packed_mac, options["own"]))
    rows = [row for row in unpack(options["plan"]) if row[0] not in own]
    through = {IPV4: options["device"], IPV6: options["device6"] or options["device"]}
    target = PeersTarget(node, through, rows, purge=options["purge"], nexthops=options["nexthops"])
    target.ledger = refuse_older(node, options)
    with about(node):
        target.refuse_itself()
    return target


def _sizes(heads: Iterable[bytes]) -> dict[int, int]:
    return {head[0]: len(head) for head in heads}
