# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects from the kernel, applies changes to it, and is the engine's target for both. I/O."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change, changes
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, about
from ansible_collections.podnet.baremetal.plugins.module_utils._links import KIND, Links, read_sysctl, write_sysctl
from ansible_collections.podnet.baremetal.plugins.module_utils._lock import node_lock
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    EVERY_RANK,
    Address,
    DeviceSysctl,
    Entry,
    FdbEntry,
    Object,
    PodRoute,
    Scope,
    StaticNeigh,
    VxlanDevice,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._privilege import require_net_admin
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import (
    BLOCK,
    RouteSocket,
    Vtep,
    message_to_delete,
    message_to_make,
    read_fdb,
    read_neighbours,
    read_routes,
    read_vtep,
)

# What the kernel says of a thing that is gone already; for a deletion that is success.
GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}
HINTS = {
    "Unknown device type": "this kernel has no VXLAN: load the module vxlan, or install the kernel package that has it "
    "(Ubuntu: linux-modules-extra)",
}


class Kernel:
    """The network namespace of this process. Opens only what a request needs: entries do without pyroute2."""

    @classmethod
    def writable(cls, node: str) -> Kernel:
        """The kernel, for who may change it."""
        require_net_admin(node)
        return cls()

    @cached_property
    def links(self) -> Links:
        return Links()

    @cached_property
    def entries(self) -> RouteSocket:
        return RouteSocket()

    def vtep(self, device: str) -> Vtep | None:
        """What the device says of itself, None where there is none. Refuses a device of another kind."""
        index = _index(device)
        vtep = read_vtep(self.entries, index) if index else None
        if vtep and vtep.kind != KIND:
            raise Refused(f"{device} is a link of kind {vtep.kind or 'device'}, not vxlan: name the VXLAN device; it was left alone.")
        return vtep

    def read(self, scope: Scope) -> list[Object]:
        """What is there of the scope. A device that is not there has nothing."""
        return [thing for thing in self._read(scope) if scope.covers(thing)]

    def apply(self, steps: Sequence[Change]) -> None:
        """Make the changes in their order, entries of one kind packed together. Raises Failed at the first that is refused."""
        done: list[str] = []
        for (kind, _delete), group in groupby(steps, key=lambda step: (type(step.thing), step.new is None)):
            together = list(group)
            batch = issubclass(kind, (StaticNeigh, FdbEntry, PodRoute))
            for block in _blocks(together, BLOCK if batch else 1):
                refused = self._entries(block) if batch else self._link(block[0])
                done += [step.command for i, step in enumerate(block) if i not in refused]
                for position, error in refused.items():
                    raise _failed(block[position], error, done)

    def _read(self, scope: Scope) -> Iterator[Object]:
        device, ranks = scope.device, scope.ranks
        index = _index(device)
        if VxlanDevice.rank in ranks:
            yield from filter(None, [self.links.read(device)])
        else:
            self.vtep(device)
        yield from filter(None, (read_sysctl(device, str(key[1])) for key in scope.keys if key[0] == "sysctl"))
        if index and Address.rank in ranks:
            yield from self.links.addresses(device)
        if index and StaticNeigh.rank in ranks:
            yield from read_neighbours(self.entries, device, index)
        if index and FdbEntry.rank in ranks:
            yield from read_fdb(self.entries, device, index)
        if PodRoute.rank in ranks:
            yield from read_routes(self.entries)

    def _link(self, step: Change) -> dict[int, OSError]:
        thing = step.thing
        try:
            if isinstance(thing, DeviceSysctl):
                write_sysctl(thing)
            elif isinstance(thing, (VxlanDevice, Address)):
                self.links.apply(thing, step.field, delete=step.new is None)
        except OSError as error:
            return _refused(step, [(0, error)])
        return {}

    def _entries(self, block: Sequence[Change]) -> dict[int, OSError]:
        delete = block[0].new is None
        pack = message_to_delete if delete else message_to_make
        try:
            indices = {device: socket.if_nametoindex(device) for device in {step.thing.device for step in block}}
        except OSError:
            gone = OSError(errno.ENODEV, f"there is no device {block[0].thing.device} on this node")
            return _refused(block[0], list(enumerate([gone] * len(block))))
        messages = [pack(_entry(step), indices[step.thing.device]) for step in block]
        return _refused(block[0], self.entries.send(messages))


@dataclass(frozen=True)
class KernelTarget:
    """What is wanted of the kernel, within a scope. `keep`: entries of ours outlive whatever their device must go through.

    `predecessor` is a device by another name whose place ours takes, with its entries.
    """

    node: str
    name: str
    scope: Scope
    desired: tuple[Object, ...]
    recreate: bool = False
    keep: bool = False
    predecessor: str = ""
    returned: dict[str, Any] = field(default_factory=dict)
    kernel: Kernel = field(default_factory=Kernel)

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Change]:
        """What two looks agree on: while others change, a dump of the fdb can miss an entry or show one twice, and no flag says so."""
        first = self._look()
        if not first:
            return first
        second = set(self._look())
        return [step for step in first if step in second]

    def apply(self, steps: Sequence[Change]) -> None:
        with about(self.node):
            self.kernel.apply(steps)

    def facts(self) -> dict[str, Any]:
        return self.returned

    def _look(self) -> list[Change]:
        with about(self.node):
            current = self.kernel.read(self.scope)
            if self.predecessor:
                current += self.kernel.read(Scope(self.predecessor, frozenset({("link", self.predecessor)}), EVERY_RANK, EVERY_RANK))
            return changes([*self.desired, *self._kept(current)], current, recreate=self.recreate)

    def _kept(self, current: Sequence[Object]) -> list[Object]:
        entries = (thing for thing in current if thing.owned and isinstance(thing, (StaticNeigh, FdbEntry, PodRoute)))
        moved = (replace(entry, device=self.scope.device) for entry in entries)
        return sorted(moved, key=lambda entry: entry.present) if self.keep else []


def _blocks(steps: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(steps), size):
        yield steps[start : start + size]


def _entry(step: Change) -> Entry:
    if not isinstance(step.thing, (StaticNeigh, FdbEntry, PodRoute)):
        raise TypeError(step.command)
    return step.thing


def _refused(like: Change, answers: Sequence[tuple[int, OSError]]) -> dict[int, OSError]:
    """The errors that count, by their position."""
    return {position: error for position, error in answers if like.new is not None or error.errno not in GONE}


def _failed(step: Change, error: OSError, done: Sequence[str]) -> Failed:
    words = str(error.strerror or error)
    hint = f": {HINTS[words]}" if words in HINTS else ""
    return Failed(f"{step.command}: {words}{hint}.", done)


def _index(device: str) -> int | None:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return None
