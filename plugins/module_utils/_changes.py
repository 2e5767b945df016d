# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done to get from the objects that are there to those that are wanted. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import Key
from ansible_collections.podnet.baremetal.plugins.module_utils._nexthop import Nexthop
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import IN_PLACE, Object, OtherLink, VxlanDevice, place_of
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PODNET_PROTOCOL, PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh


class Change(NamedTuple):
    """One step: an object made, put in the place of an old one, or deleted; or one field of a device set in place.

    `recreate`: what is deleted comes back as a new one in the next step.
    """

    new: Object | None = None
    old: Object | None = None
    field: str = ""
    recreate: bool = False

    @property
    def thing(self) -> Object:
        """What the step is about: the new object, or the one that goes."""
        thing = self.new or self.old
        if thing is None:
            raise ValueError("a change without an object")
        return thing

    @property
    def command(self) -> str:
        """The iproute2 command of this step."""
        return self._text(self.new) if self.new else self.thing.absent

    @property
    def before(self) -> str:
        return self._text(self.old)

    @property
    def after(self) -> str:
        if self.recreate:  # a comment, for who reads a diff: what goes and comes back looks there like what changes in place
            return f"# recreate {self.thing.device}: every pod of the node is cut off meanwhile"
        return self._text(self.new)

    def _text(self, thing: Object | None) -> str:
        if self.field and isinstance(thing, VxlanDevice):
            return thing.setting(self.field)
        return thing.present if thing else ""


def changes(desired: Iterable[Object], current: Iterable[Object], *, recreate: bool = False) -> list[Change]:
    """List the steps, in an order that never breaks what works.

    Devices first, then new and changed entries in their order (address, neighbour, fdb, nexthop, route: the kernel would resolve a route's
    gateway by itself if the neighbour came later), then what goes, in reverse. A changed entry is one step in place. Nothing
    that is not ours is deleted. Raises Refused where a wanted key is taken by something that is not ours, or where only a new
    device would do and `recreate` is not set.
    """
    wanted = sorted(desired, key=place_of)
    there = list(current)
    links = [step for thing in wanted if isinstance(thing, VxlanDevice) for step in _link(thing, there, recreate=recreate)]
    entries = [thing for thing in wanted if not isinstance(thing, VxlanDevice)]
    left = _by_key(left_after(links, there))
    if not left:
        return [*links, *map(Change, entries)]
    made = [step for thing in entries for step in _entry(thing, left[thing.key])]
    gone = [step for thing in entries for step in _surplus(thing, left[thing.key])]
    keys = {thing.key for thing in wanted}
    gone += [_removal(thing) for key, things in left.items() if key not in keys for thing in things if _removable(thing)]
    return [*links, *made, *sorted(gone, key=lambda step: (-place_of(step.thing), step.command))]


def left_after(links: Iterable[Change], there: Sequence[Object]) -> list[Object]:
    """What the kernel leaves of the entries: a deleted device takes all along, a set MAC flushes neighbours (neigh_changeaddr())."""
    left = list(there)
    for step in links:
        device = step.thing.device
        if step.new is None:
            left = [thing for thing in left if thing.device != device]
        elif step.field == "mac":
            left = [thing for thing in left if thing.device != device or not isinstance(thing, StaticNeigh)]
    return left


def _link(wanted: VxlanDevice, there: Iterable[Object], *, recreate: bool) -> list[Change]:
    links = [thing for thing in there if isinstance(thing, (VxlanDevice, OtherLink))]
    # Without a link of its own name, a device takes the place of the one that the scope brought along: the VNI is in the name.
    current = next((link for link in links if link.key == wanted.key), next(iter(links), None))
    if current is None:
        return [Change(new=wanted)]
    if not isinstance(current, VxlanDevice):
        raise _foreign_link(current)
    if current.fixed == wanted.fixed:
        differing = [field for field in IN_PLACE if getattr(current, field) != getattr(wanted, field)]
        return [Change(new=wanted, old=current, field=field) for field in differing]
    if not recreate:
        raise Refused(_needs_recreate(wanted, current))
    return [Change(old=current, recreate=True), Change(new=wanted)]


def _needs_recreate(wanted: VxlanDevice, current: VxlanDevice) -> str:
    pairs = ((name, current.fixed[name], value) for name, value in wanted.fixed.items())
    reasons = [f"{name} is {found} and must be {value}" for name, found, value in pairs if found != value]
    return (
        f"{current.name}: {', '.join(reasons)}: the kernel changes this only by recreating the device, which interrupts every pod of "
        "the node; allow it with recreate: true (podnet_recreate)."
    )


def _foreign_link(link: Object) -> Refused:
    kind = link.kind if isinstance(link, OtherLink) else "unknown"
    return Refused(f"{link.device} exists and is a link of kind {kind}, not vxlan: remove it or choose another name; it was left alone.")


def _entry(wanted: Object, there: Sequence[Object]) -> Iterator[Change]:
    if any(_serves(thing, wanted) for thing in there):
        return
    old = there[0] if there else None
    if isinstance(old, PodRoute) and _elsewhere(old, wanted):
        raise Refused(
            f"{old.subnet} is already routed on this node by a route that is not ours ({old.present}): "
            "remove that route or give the peer another pod subnet; it was left alone."
        )
    if isinstance(old, Nexthop) and not old.owned:
        raise Refused(
            f"the nexthop {old.number} is not ours ({old.present}): remove it, or do without nexthops with nexthops: never "
            "(podnet_nexthops); it was left alone."
        )
    if _bars(old, wanted):
        yield Change(old=old)
        old = None
    yield Change(new=wanted, old=old)


def _bars(old: Object | None, wanted: Object) -> bool:
    """Whether it must go first: an IPv6 gateway that the old route leads to by another device is refused (ip6_route_check_nh_onlink())."""
    return isinstance(old, PodRoute) and old.device != wanted.device and ":" in old.subnet


def _surplus(wanted: Object, there: Sequence[Object]) -> Iterator[Change]:
    """What stands beside the wanted entry under the same key: `ip route append` makes a second route to one subnet."""
    serving = (thing for thing in there if _serves(thing, wanted))
    kept = wanted if wanted in there else next(serving, next(iter(there), None))
    return (_removal(thing) for thing in there if thing != kept and _removable(thing) and not _elsewhere(thing, wanted))


def _serves(thing: Object, wanted: Object) -> bool:
    """Whether it does the same: flanneld's own route forwards as ours would, so there is nothing to change."""
    return thing == wanted or (isinstance(thing, PodRoute) and thing.flannels and thing._replace(protocol=PODNET_PROTOCOL) == wanted)


def _elsewhere(thing: Object, wanted: Object) -> bool:
    """A route through another device, which only its protocol could make ours."""
    return isinstance(thing, PodRoute) and thing.device != wanted.device and thing.protocol != PODNET_PROTOCOL


def _removable(thing: Object) -> bool:
    if isinstance(thing, OtherLink):
        raise _foreign_link(thing)
    return thing.owned


def _removal(thing: Object) -> Change:
    return Change(old=thing)


def _by_key(things: Iterable[Object]) -> Mapping[Key, list[Object]]:
    groups: defaultdict[Key, list[Object]] = defaultdict(list)
    for thing in things:
        groups[thing.key].append(thing)
    return groups
