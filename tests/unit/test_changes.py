# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference between wanted and present objects: sentences, and properties over random tables. No I/O."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change, changes, left_after
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._nexthop import Nexthop
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    EVERY_KIND,
    Address,
    DeviceSysctl,
    Object,
    OtherLink,
    VxlanDevice,
    place_of,
    scope_of,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh
from hypothesis import given
from hypothesis import strategies as st

DEVICE = VxlanDevice("flannel.1", 1, 8472, "198.51.100.1", "eth0", "02:f1:ac:14:00:00", 1450)
VTEP = Address("flannel.1", "172.20.0.0/32")
NEIGH = StaticNeigh("flannel.1", "172.20.1.0", "02:f1:ac:14:01:00")
FDB = FdbEntry("flannel.1", "02:f1:ac:14:01:00", "198.51.100.2")
NEXTHOP = Nexthop("flannel.1", 7, "172.20.1.0")
ROUTE = PodRoute("flannel.1", "172.20.1.0/24", "172.20.1.0")
ALL: tuple[Object, ...] = (DEVICE, VTEP, NEIGH, FDB, ROUTE)


def commands(desired: tuple[Object, ...], current: tuple[Object, ...], recreate: bool = False) -> list[str]:
    return [step.command for step in changes(desired, current, recreate=recreate)]


def test_a_node_with_nothing_gets_device_address_neighbour_fdb_and_route_in_this_order() -> None:
    link = "ip link add name flannel.1 address 02:f1:ac:14:00:00 mtu 1450 txqueuelen 0 up"
    assert commands(tuple(reversed(ALL)), ()) == [
        f"{link} type vxlan id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning",
        "ip addr add 172.20.0.0/32 dev flannel.1",
        "ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent",
        "bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent",
        "ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86",
    ]


def test_what_is_right_costs_nothing() -> None:
    assert commands(ALL, ALL) == []


def test_a_route_of_flanneld_costs_nothing_on_its_own_device_alone() -> None:
    flannels = ROUTE._replace(protocol=3)
    assert commands((ROUTE,), (flannels,)) == []
    assert (flannels.owned, flannels._replace(device="vx7").owned, ROUTE._replace(protocol=4).owned) == (True, False, False)
    for other in (flannels._replace(gateway="172.20.9.0"), flannels._replace(extra=" src"), flannels._replace(onlink=False)):
        assert not other.owned
        assert commands((ROUTE,), (other,)) == ["ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86"]
    assert commands((ROUTE,), (flannels, ROUTE)) == [flannels.absent], "a second route to one subnet"


def test_an_ipv6_route_through_another_device_goes_before_ours_comes_and_an_ipv4_one_is_replaced() -> None:
    ours, there = (PodRoute(device, "2001:db8:1::/64", "2001:db8:1::") for device in ("flannel-v6.1", "flannel.1"))
    assert commands((ours,), (there,)) == [there.absent, ours.present]
    assert commands((ROUTE,), (ROUTE._replace(device="flannel.2"),)) == [ROUTE.present]


def test_what_goes_goes_in_reverse_order() -> None:
    assert commands((DEVICE,), ALL) == [
        "ip route del 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86",
        "bridge fdb del 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self",
        "ip neigh del 172.20.1.0 dev flannel.1",
        "ip addr del 172.20.0.0/32 dev flannel.1",
    ]


def test_a_peer_that_moved_costs_one_command() -> None:
    moved = FDB._replace(destination="198.51.100.9")
    assert commands((moved,), (FDB,)) == ["bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.9 self permanent"]


def test_the_right_address_comes_before_the_wrong_one_goes() -> None:
    wrong = Address("flannel.1", "172.20.7.0/32")
    assert commands((DEVICE, VTEP), (DEVICE, wrong)) == [
        "ip addr add 172.20.0.0/32 dev flannel.1",
        "ip addr del 172.20.7.0/32 dev flannel.1",
    ]


@pytest.mark.parametrize(
    ("field", "value", "command"),
    [
        ("interface", "eth1", "type vxlan dev eth0"),
        ("local", "198.51.100.9", "type vxlan local 198.51.100.1"),
        ("learning", True, "type vxlan nolearning"),
        ("ttl", 3, "type vxlan ttl 0"),
        ("tos", 4, "type vxlan tos 0"),
        ("df", "set", "type vxlan df unset"),
        ("ageing", 9, "type vxlan ageing 300"),
        ("remote", "198.51.100.7", "type vxlan remote 0.0.0.0"),
        ("mac", "02:00:00:00:00:01", "address 02:f1:ac:14:00:00"),
        ("mtu", 1400, "mtu 1450"),
        ("txqueuelen", 1000, "txqueuelen 0"),
        ("up", False, "up"),
    ],
)
def test_a_field_that_the_kernel_changes_in_place_costs_one_command(field: str, value: Any, command: str) -> None:
    assert commands((DEVICE,), (DEVICE._replace(**{field: value}),)) == [f"ip link set dev flannel.1 {command}"]


@pytest.mark.parametrize(("field", "value"), [("vni", 5), ("port", 4789), ("features", ("gbp",)), ("local", "2001:db8::1")])
def test_what_only_a_new_device_can_have_is_refused_and_said_unless_allowed(field: str, value: Any) -> None:
    other = DEVICE._replace(**{field: value})
    with pytest.raises(Refused, match=r"flannel.1: .* is .* and must be .*recreate: true"):
        changes((DEVICE,), (other,))
    gone, made = changes((DEVICE,), (other,), recreate=True)
    assert [gone.command, made.command] == ["ip link del flannel.1", DEVICE.present]
    assert (gone.before, gone.after) == (other.present, "# recreate flannel.1: every pod of the node is cut off meanwhile")
    assert (made.before, made.after) == ("", DEVICE.present)


def test_a_new_device_gets_everything_back_that_the_old_one_had() -> None:
    old = DEVICE._replace(port=4789)
    assert commands(ALL, (old, *ALL[1:]), recreate=True) == ["ip link del flannel.1", *[thing.present for thing in ALL]]


def test_a_set_mac_flushes_the_neighbours_so_they_are_put_back() -> None:
    other = DEVICE._replace(mac="02:00:00:00:00:01")
    assert commands(ALL, (other, *ALL[1:])) == ["ip link set dev flannel.1 address 02:f1:ac:14:00:00", NEIGH.present]


def test_a_link_of_another_kind_is_refused_by_its_kind() -> None:
    bridge = OtherLink("flannel.1", "bridge")
    for desired in ((DEVICE,), ()):
        with pytest.raises(Refused, match=r"flannel.1 exists and is a link of kind bridge"):
            changes(desired, (bridge,))


def test_a_route_that_leads_elsewhere_and_is_not_ours_is_refused() -> None:
    foreign = PodRoute("eth0", "172.20.1.0/24", "198.51.100.9", onlink=False, protocol=4)
    with pytest.raises(Refused, match=r"172.20.1.0/24 is already routed .*via 198.51.100.9 dev eth0 proto 4"):
        changes((ROUTE,), (foreign,))


def test_a_route_through_our_device_is_taken_over_whoever_made_it() -> None:
    assert commands((ROUTE,), (ROUTE._replace(protocol=4),)) == [ROUTE.present]


def test_a_route_by_nexthop_comes_after_it_and_goes_before_it() -> None:
    route = ROUTE._replace(nexthop=7)
    assert commands((route, NEXTHOP), ()) == [
        "ip nexthop replace id 7 via 172.20.1.0 dev flannel.1 onlink proto 86",
        "ip route replace 172.20.1.0/24 nhid 7 proto 86",
    ]
    assert commands((), (NEXTHOP, route)) == ["ip route del 172.20.1.0/24 nhid 7 proto 86", "ip nexthop del id 7"]
    assert commands((ROUTE,), (NEXTHOP, route)) == [ROUTE.present, "ip nexthop del id 7"]
    assert commands((NEXTHOP, route), (ROUTE,)) == [NEXTHOP.present, route.present]


def test_a_nexthop_of_somebody_else_is_refused_by_what_it_is() -> None:
    with pytest.raises(Refused, match=r"the nexthop 7 is not ours \(ip nexthop replace id 7 dev eth0 proto 4\).* nexthops: never"):
        changes((NEXTHOP,), (Nexthop("eth0", 7, "", onlink=False, protocol=4),))


def test_what_is_not_ours_is_not_deleted() -> None:
    foreign = (
        ROUTE._replace(protocol=4),
        NEIGH._replace(permanent=False),
        FDB._replace(permanent=False),
        DeviceSysctl("flannel.1", "net.ipv6.conf.flannel/1.accept_ra", "0"),
    )
    assert commands((), foreign) == []


def test_a_second_destination_of_one_mac_goes_and_the_right_one_stays() -> None:
    second = FDB._replace(destination="198.51.100.9")
    gone = "bridge fdb del 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.9 self"
    assert commands((FDB,), (FDB, second)) == [gone]
    assert commands((FDB,), (second, FDB)) == [gone]


def test_the_all_zero_mac_may_have_many_destinations() -> None:
    one, two = (FdbEntry("flannel.1", "00:00:00:00:00:00", f"198.51.100.{n}") for n in (1, 2))
    assert commands((one, two), (one,)) == ["bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.51.100.2 self permanent"]


# --- properties -------------------------------------------------------------

numbers = st.integers(min_value=1, max_value=4)
macs = numbers.map(lambda n: f"02:f1:ac:14:0{n}:00")
entries = st.one_of(
    numbers.map(lambda n: Address("flannel.1", f"172.20.{n}.0/32")),
    st.tuples(numbers, macs).map(lambda pair: StaticNeigh("flannel.1", f"172.20.{pair[0]}.0", pair[1])),
    st.tuples(macs, numbers).map(lambda pair: FdbEntry("flannel.1", pair[0], f"198.51.100.{pair[1]}")),
    numbers.map(lambda n: Nexthop("flannel.1", n, f"172.20.{n}.0")),
    st.tuples(numbers, numbers).map(lambda pair: PodRoute("flannel.1", f"172.20.{pair[0]}.0/24", f"172.20.{pair[1]}.0")),
)
devices = st.builds(
    VxlanDevice._replace,
    st.just(DEVICE),
    mtu=st.sampled_from([1400, 1450]),
    mac=st.sampled_from(["02:f1:ac:14:00:00", "02:00:00:00:00:01"]),
    port=st.sampled_from([8472, 4789]),
)
tables = st.tuples(devices, st.lists(entries, unique_by=lambda thing: thing.key)).map(lambda pair: (pair[0], *pair[1]))


def applied(steps: list[Change], current: tuple[Object, ...]) -> set[Object]:
    """A kernel of a few lines: what the table is after the steps, with what the kernel itself takes away."""
    table = set(current)
    for step in steps:
        table = set(left_after([step], list(table))) if isinstance(step.thing, VxlanDevice) else table
        if isinstance(step.new, VxlanDevice) and step.field:
            device = next(thing for thing in table if isinstance(thing, VxlanDevice))
            table = (table - {device}) | {device._replace(**{step.field: getattr(step.new, step.field)})}
        else:
            table = (table - {step.old}) | ({step.new} if step.new else set())
    return table


@given(tables, tables)
def test_applying_the_changes_gives_what_is_wanted_and_nothing_is_left_to_do(
    desired: tuple[Object, ...], current: tuple[Object, ...]
) -> None:
    after = applied(changes(desired, current, recreate=True), current)
    assert after == set(desired)
    assert changes(desired, tuple(after)) == []


@given(tables, tables)
def test_every_step_is_about_something_that_differs(desired: tuple[Object, ...], current: tuple[Object, ...]) -> None:
    same_device = (desired[0], *current[1:])
    steps = changes(desired, same_device)
    assert {step.new for step in steps if step.new} == set(desired) - set(same_device)


@given(tables, tables)
def test_nothing_is_deleted_before_everything_new_is_made(desired: tuple[Object, ...], current: tuple[Object, ...]) -> None:
    steps = changes(desired, (desired[0], *current[1:]))
    deletions = [step.new is None for step in steps]
    places = [place_of(step.thing) for step in steps]
    made = places[: len(places) - sum(deletions)]
    gone = places[len(made) :]
    assert deletions == sorted(deletions)
    assert made == sorted(made)
    assert gone == sorted(gone, reverse=True)


@given(tables)
def test_a_scope_with_purge_covers_what_is_ours_on_the_device_alone(current: tuple[Object, ...]) -> None:
    scope = scope_of("flannel.1", (), purge=EVERY_KIND)
    assert all(scope.covers(thing) for thing in current)
    elsewhere = scope_of("flannel.2", (), purge=EVERY_KIND)
    assert not any(elsewhere.covers(thing) for thing in current)
