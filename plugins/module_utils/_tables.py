# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's tables of neighbours, fdb entries, nexthops and routes: read, written and asked. I/O; standard library only."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, failed
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    ENTRIES,
    VXLAN,
    Entry,
    FdbEntry,
    Nexthop,
    PodRoute,
    Scope,
    StaticNeigh,
    UnreachableRoute,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import (
    BLOCK,
    NEXTHOPS,
    ROUTES,
    UNREACHABLES,
    RouteSocket,
    Vtep,
    fdb_of,
    message_to_delete,
    message_to_get,
    message_to_make,
    neighbours_of,
    parse_fdb,
    parse_foreign_route,
    parse_neighbour,
    parse_nexthop,
    parse_route,
    parse_unreachable,
    read_vtep,
    unreachable_message,
)

# What the kernel says of a thing that is gone already; for a deletion that is success.
GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}
HINTS = {
    "Unknown device type": "this kernel has no VXLAN: load the module vxlan, or install the kernel package that has it "
    "(Ubuntu: linux-modules-extra)",
}
Refusals = Mapping[int, OSError]


class Tables:
    """The tables of this process's network namespace."""

    @cached_property
    def socket(self) -> RouteSocket:
        return RouteSocket()

    @cached_property
    def has_nexthops(self) -> bool:
        """Whether this kernel knows nexthop objects: 5.3 and newer."""
        try:
            self.socket.get(*message_to_get(Nexthop("", 0, ""), 0))
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP  # that there is no nexthop 0 says a kernel that knows them
        return True

    def vtep(self, device: str) -> Vtep | None:
        """What the device says of itself, None where there is none. Refuses a device of another kind."""
        index = index_of(device)
        vtep = read_vtep(self.socket, index) if index else None
        if vtep and vtep.kind != VXLAN:
            raise Refused(f"{device} is a link of kind {vtep.kind or 'device'}, not vxlan: name the VXLAN device; it was left alone.")
        return vtep

    def read(self, scope: Scope) -> Iterator[Entry]:
        """Every entry of the kinds in the scope, of the device where they are a device's. A device that is not there has none."""
        index = index_of(scope.device)
        if index and StaticNeigh in scope.kinds:
            yield from filter(None, (parse_neighbour(body, scope.device, index) for body in self.socket.dump(neighbours_of(index))))
        if index and FdbEntry in scope.kinds:
            yield from filter(None, (parse_fdb(body, scope.device, index) for body in self.socket.dump(fdb_of(index))))
        if Nexthop in scope.kinds and self.has_nexthops:
            yield from map(parse_nexthop, self.socket.dump(NEXTHOPS))
        if PodRoute in scope.kinds:
            yield from self.routes(self.socket.dump(ROUTES))

    def routes(self, bodies: Sequence[bytes]) -> Iterator[PodRoute]:
        """The routes that answers tell of. With net.ipv4.nexthop_compat_mode=0 they tell only the number of a nexthop: it says the rest."""
        found = [route for route in map(parse_route, bodies) if route]
        if any(route.nexthop and not route.device for route in found):
            nexthops = {each.number: each for each in map(parse_nexthop, self.socket.dump(NEXTHOPS))}
            found = [_completed(route, nexthops.get(route.nexthop)) for route in found]
        return iter(found)

    def unreachable_routes(self) -> Iterator[UnreachableRoute]:
        """Those of ours."""
        return filter(None, map(parse_unreachable, self.socket.dump(UNREACHABLES)))

    def foreign_routes(self) -> Iterator[PodRoute]:
        """The routes of the main table that are not ours, whatever their metric, but for default routes."""
        return filter(None, map(parse_foreign_route, self.socket.dump(ROUTES)))

    def has(self, entry: Entry) -> bool:
        """Whether the kernel, asked for this entry alone, shows it as it should be. False also where it cannot be asked so."""
        index = index_of(entry.device)
        try:
            body = self.socket.get(*message_to_get(entry, index)) if index else b""
        except OSError:
            return False
        return bool(body) and parse(entry, body, index) == entry

    def send(self, block: Sequence[Change]) -> Refusals:
        """Make or delete entries of one kind, all at once. The refusals by their position."""
        delete = block[0].new is None
        pack = message_to_delete if delete else message_to_make
        things = [step.thing for step in block]
        indices = {device: index_of(device) for device in {thing.device for thing in things}}
        if not all(indices.values()):
            gone = OSError(errno.ENODEV, f"there is no device {things[0].device} on this node")
            return refused(block[0], list(enumerate([gone] * len(block))))
        messages = [pack(thing, indices[thing.device]) for thing in things if isinstance(thing, ENTRIES)]
        return refused(block[0], self.socket.send(messages))

    def send_unreachable(self, step: Change, route: UnreachableRoute) -> Refusals:
        """Make or delete a route that has no device."""
        return refused(step, self.socket.send([unreachable_message(route, delete=step.new is None)]))


def carry_out(steps: Sequence[Change], send: Callable[[Sequence[Change]], Refusals]) -> None:
    """Make the changes in their order, entries of one kind together. Raises Failed at the first block with a refusal."""
    done: list[Change] = []
    for (kind, _delete), group in groupby(steps, key=_kind_and_verb):
        together = list(group)
        size = BLOCK if kind in ENTRIES else 1
        for start in range(0, len(together), size):
            block = together[start : start + size]
            refusals = send(block)
            for position, error in refusals.items():
                done += [step for i, step in enumerate(block) if i not in refusals]
                raise _failed(block[position], error, [step.command for step in done])
            done += block


def parse(like: Entry, body: bytes, index: int) -> Entry | None:
    """The entry that an answer tells of; `like` says of which kind."""
    if isinstance(like, StaticNeigh):
        return parse_neighbour(body, like.device, index)
    if isinstance(like, FdbEntry):
        return parse_fdb(body, like.device, index)
    return parse_nexthop(body) if isinstance(like, Nexthop) else parse_route(body)


def refused(like: Change, answers: Sequence[tuple[int, OSError]]) -> Refusals:
    """The errors that count, by their position."""
    return {position: error for position, error in answers if like.new is not None or error.errno not in GONE}


def index_of(device: str) -> int:
    """The interface index of a device, 0 where there is none by that name."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def _completed(route: PodRoute, nexthop: Nexthop | None) -> PodRoute:
    if nexthop is None or route.device:
        return route
    return route._replace(device=nexthop.device, gateway=nexthop.gateway, onlink=nexthop.onlink)


def _kind_and_verb(step: Change) -> tuple[type, bool]:
    return type(step.new or step.old), step.new is None


def _failed(step: Change, error: OSError, done: Sequence[str]) -> Failed:
    hint = HINTS.get(str(error.strerror))
    return failed(step.command, OSError(error.errno, f"{error.strerror}: {hint}") if hint else error, done)
