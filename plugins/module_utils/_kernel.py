# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects from the kernel, applies changes to it, and is the engine's target for both. I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change, changes
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import about
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import Generation
from ansible_collections.podnet.baremetal.plugins.module_utils._links import Links, read_sysctl, write_sysctl
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock, require_net_admin
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    ENTRIES,
    EVERY_KIND,
    PACKED,
    Address,
    DeviceSysctl,
    Entry,
    Object,
    Scope,
    VxlanDevice,
    family_of,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import interface
from ansible_collections.podnet.baremetal.plugins.module_utils._tables import Refusals, Tables, carry_out, refused
from ansible_collections.podnet.baremetal.plugins.module_utils._unreachable_route import UnreachableRoute


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
    def tables(self) -> Tables:
        return Tables()

    def read(self, scope: Scope) -> list[Object]:
        """What is there of the scope. A device that is not there has nothing."""
        return [thing for thing in self._read(scope) if scope.covers(thing)]

    def apply(self, steps: Sequence[Change]) -> None:
        """Make the changes in their order. Raises Failed at the first that is refused."""
        carry_out(steps, self._send)

    def _read(self, scope: Scope) -> Iterator[Object]:
        device = scope.device
        if VxlanDevice in scope.kinds:
            yield from filter(None, [self.links.read(device)])
        else:
            self.tables.vtep(device)
        yield from filter(None, (read_sysctl(device, str(key[1])) for key in scope.keys if key[0] == "sysctl"))
        if Address in scope.kinds and interface(device).ifindex:
            yield from self.links.addresses(device)
        yield from self.tables.read(scope)
        if UnreachableRoute in scope.kinds:
            yield from self.tables.unreachable_routes()

    def _send(self, block: Sequence[Change]) -> Refusals:
        step, thing = block[0], block[0].thing
        if isinstance(thing, PACKED):
            return self.tables.send(block)
        try:
            if isinstance(thing, DeviceSysctl):
                write_sysctl(thing)
            elif isinstance(thing, (VxlanDevice, Address)):
                self.links.apply(thing, step.field, delete=step.new is None)
        except OSError as error:
            return refused(step, [(0, error)])
        return {}


class KernelTarget(NamedTuple):
    """What is wanted of the kernel, within a scope. `keep`: entries of ours outlive whatever their device must go through.

    `predecessor` is a device by another name whose place ours takes, with its entries.
    """

    node: str
    name: str
    scope: Scope
    desired: tuple[Object, ...]
    kernel: Kernel
    recreate: bool = False
    keep: bool = False
    predecessor: str = ""
    returned: dict[str, Any] | None = None

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
        return self.returned or {}

    def _look(self) -> list[Change]:
        with about(self.node):
            current = self.kernel.read(self.scope)
            if self.predecessor:
                current += self.kernel.read(Scope(self.predecessor, frozenset({("link", self.predecessor)}), EVERY_KIND, EVERY_KIND))
            return changes([*self.desired, *self._kept(current)], current, recreate=self.recreate)

    def _kept(self, current: Sequence[Object]) -> list[Object]:
        entries = (thing for thing in current if thing.owned and isinstance(thing, ENTRIES) and self._takes(thing))
        moved = (entry._replace(device=self.scope.device) for entry in entries)
        return sorted(moved, key=lambda entry: entry.present) if self.keep else []

    def _takes(self, entry: Entry) -> bool:
        """Whether the wanted device can have it: its fdb takes only destinations of the family of `local` (vxlan_fdb_parse())."""
        sources = [thing.local for thing in self.desired if isinstance(thing, VxlanDevice)]
        return not isinstance(entry, FdbEntry) or all(family_of(local) == family_of(entry.destination) for local in sources)


class KernelTargets(NamedTuple):
    """What belongs together on a node, such as its devices, as one target, one after the other. A part without a device has no name."""

    parts: tuple[KernelTarget, ...]
    ledger: Generation | None = None

    @property
    def name(self) -> str:
        return ", ".join(part.name for part in self.parts if part.name)

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Change]:
        return [step for part in self.parts for step in part.drift()]

    def apply(self, steps: Sequence[Change]) -> None:
        if self.ledger:
            with about(self.parts[0].node):
                self.ledger.record()
        self.parts[0].apply(steps)

    def facts(self) -> dict[str, Any]:
        return {name: fact for part in self.parts for name, fact in part.facts().items()}
