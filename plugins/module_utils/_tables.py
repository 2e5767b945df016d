# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's tables of neighbours, fdb entries, nexthops and routes: read, written and asked. I/O; standard library only."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, failed
from ansible_collections.podnet.baremetal.plugins.module_utils._nexthop import NEXTHOPS, Nexthop
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import ENTRIES, PACKED, VXLAN, Entry, Packed, Scope
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import ROUTES, PodRoute, parse_foreign_route
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import (
    BLOCK,
    NO_INTERFACE,
    RouteSocket,
    Vtep,
    interface,
    read_vtep,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._unreachable_route import UNREACHABLES, UnreachableRoute

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
            self.socket.get(*Nexthop("", 0, "").to_get(NO_INTERFACE))
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP  # that there is no nexthop 0 says a kernel that knows them
        return True

    def vtep(self, device: str) -> Vtep | None:
        """What the device says of itself, None where there is none. Refuses a device of another kind."""
        index = interface(device).ifindex
        vtep = read_vtep(self.socket, index) if index else None
        if vtep and vtep.kind != VXLAN:
            raise Refused(f"{device} is a link of kind {vtep.kind or 'device'}, not vxlan: name the VXLAN device; it was left alone.")
        return vtep

    def read(self, scope: Scope) -> Iterator[Entry]:
        """Every entry of the kinds in the scope, of the device where they are a device's. A device that is not there has none."""
        on = interface(scope.device)
        for kind in (kind for kind in ENTRIES if kind in scope.kinds):
            table = kind.table(on)
            if table and (kind is not Nexthop or self.has_nexthops):
                bodies = self.socket.dump(table)
                yield from self.routes(bodies) if kind is PodRoute else filter(None, (kind.parse(body, on) for body in bodies))

    def routes(self, bodies: Sequence[bytes]) -> Iterator[PodRoute]:
        """The routes that answers tell of. With net.ipv4.nexthop_compat_mode=0 they tell only the number of a nexthop: it says the rest."""
        found = [route for route in (PodRoute.parse(body, NO_INTERFACE) for body in bodies) if route]
        if any(route.nexthop and not route.device for route in found):
            nexthops = {each.number: each for each in (Nexthop.parse(body, NO_INTERFACE) for body in self.socket.dump(NEXTHOPS))}
            found = [_completed(route, nexthops.get(route.nexthop)) for route in found]
        return iter(found)

    def unreachable_routes(self) -> Iterator[UnreachableRoute]:
        """Those of ours."""
        return filter(None, (UnreachableRoute.parse(body, NO_INTERFACE) for body in self.socket.dump(UNREACHABLES)))

    def foreign_routes(self) -> Iterator[PodRoute]:
        """The routes of the main table that are not ours, whatever their metric, but for default routes."""
        return filter(None, (parse_foreign_route(body, NO_INTERFACE) for body in self.socket.dump(ROUTES)))

    def has(self, entry: Entry) -> bool:
        """Whether the kernel, asked for this entry alone, shows it as it should be. False also where it cannot be asked so."""
        on = interface(entry.device)
        try:
            return bool(on.ifindex) and entry.parse(self.socket.get(*entry.to_get(on)), on) == entry
        except OSError:
            return False

    def send(self, block: Sequence[Change]) -> Refusals:
        """Make or delete things of one kind, all at once. The refusals by their position."""
        delete = block[0].new is None
        things: list[Packed] = [thing for thing in (step.thing for step in block) if isinstance(thing, PACKED)]
        on = {device: interface(device) for device in {thing.device for thing in things}}
        if not all(each.ifindex for each in on.values() if each.name):
            gone = OSError(errno.ENODEV, f"there is no device {things[0].device} on this node")
            return refused(block[0], list(enumerate([gone] * len(block))))
        messages = [thing.to_delete(on[thing.device]) if delete else thing.to_make(on[thing.device]) for thing in things]
        return refused(block[0], self.socket.send(messages))


def carry_out(steps: Sequence[Change], send: Callable[[Sequence[Change]], Refusals]) -> None:
    """Make the changes in their order, entries of one kind together. Raises Failed at the first block with a refusal."""
    done: list[Change] = []
    for (kind, _delete), group in groupby(steps, key=_kind_and_verb):
        together = list(group)
        size = BLOCK if kind in PACKED else 1
        for start in range(0, len(together), size):
            block = together[start : start + size]
            refusals = send(block)
            for position, error in refusals.items():
                done += [step for i, step in enumerate(block) if i not in refusals]
                raise _failed(block[position], error, [step.command for step in done])
            done += block


def refused(like: Change, answers: Sequence[tuple[int, OSError]]) -> Refusals:
    """The errors that count, by their position."""
    return {position: error for position, error in answers if like.new is not None or error.errno not in GONE}


def _completed(route: PodRoute, nexthop: Nexthop | None) -> PodRoute:
    if nexthop is None or route.device:
        return route
    return route._replace(device=nexthop.device, gateway=nexthop.gateway, onlink=nexthop.onlink)


def _kind_and_verb(step: Change) -> tuple[type, bool]:
    return type(step.new or step.old), step.new is None


def _failed(step: Change, error: OSError, done: Sequence[str]) -> Failed:
    hint = HINTS.get(str(error.strerror))
    return failed(step.command, OSError(error.errno, f"{error.strerror}: {hint}") if hint else error, done)
