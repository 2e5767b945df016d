# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every plan, whatever the inventory has gone through. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils import _ledger, _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import line_changes, parse, text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Lease, Ledger, Network, plan, vtep_mac
from hypothesis import given, settings
from hypothesis import strategies as st

SPLITS = set("\n\r\0\x1b")
NAMES = [f"node{number}" for number in range(12)]
SIZES = st.sampled_from([(), 25, 26, 28])
INVENTORIES = st.dictionaries(st.sampled_from(NAMES), SIZES, max_size=8)
HISTORIES = st.lists(INVENTORIES, min_size=1, max_size=5)
RESERVED = st.lists(st.sampled_from(["172.20.0.0/27", "172.20.1.0/24", "172.20.2.128/25", "2001:db8:244::/62"]), unique=True)
NETWORKS = st.builds(
    lambda cluster, reserved: Network.of(cluster, "10.68.0.0/16", reserved=reserved),
    st.sampled_from(["172.20.0.0/19", ["172.20.0.0/20", "172.21.0.0/20"], ["172.20.0.0/19", "2001:db8:244::/56"]]),
    RESERVED,
)

# What a line of the ledger may say, by hand or by accident: right, right but written otherwise than we do, and wrong.
SUBNETS = ("172.20.0.0/24", "172.20.1.0/24", "172.20.1.128/25", "2001:db8:244::/64", "2001:db8:244:1::/64")
ODD_SUBNETS = ("172.20.1.1/24", "172.21.0.0/24", "172.20.2.0", "127.0.0.0/24", "2001:DB8:244::/64", "::ffff:172.20.0.0/120", "")
UNDERLAYS = ("198.51.100.1", "198.51.100.2", "2001:db8::1")
ODD_UNDERLAYS = ("198.051.100.1", "127.0.0.1", "224.0.0.1", "2001:0db8::1", "64:ff9b::1", "fe80::1%eth0")
MACS = ("02:00:00:00:00:01", "02:f1:ac:14:01:00")
ODD_MACS = ("02:F1:AC:14:00:00", "01:00:5e:00:00:01", "x")


def often(values: tuple[str, ...], odd: tuple[str, ...]) -> Any:
    return st.one_of(*[st.sampled_from(values)] * 9, st.sampled_from(odd))


LEASES = st.builds(
    Lease,
    st.sampled_from([*NAMES, "a.b", "10.0.0.9", "-x", "a..b", "Node1"]),
    st.lists(often(SUBNETS, ODD_SUBNETS), min_size=1, max_size=2).map(tuple),
    often(UNDERLAYS, ODD_UNDERLAYS),
    st.none() | often(MACS, ODD_MACS),
    often(("active", "retired"), ("gone",)),
    underlay6=st.just("") | st.sampled_from(["2001:db8::1", "2001:db8::2", "198.51.100.3"]),
    mac6=st.none() | often(MACS, ODD_MACS),
)


def hosts(inventory: dict[str, Any]) -> list[Host]:
    return [Host.of(name, f"198.51.100.{NAMES.index(name) + 1}", node_prefix=size) for name, size in inventory.items()]


def refusal(read: Callable[[], Any]) -> str:
    """The sentence, or "" if there is none."""
    try:
        read()
    except Refused as refused:
        return str(refused)
    return ""


def lived(network: Network, history: list[dict[str, Any]]) -> Ledger:
    ledger = None
    for inventory in history:
        ledger = plan(ledger, network, hosts(inventory))
    assert ledger is not None
    return ledger


@given(NETWORKS, HISTORIES)
def test_subnets_are_distinct_inside_and_clear_of_what_is_reserved(network: Network, history: list[dict[str, Any]]) -> None:
    ledger = lived(network, history)
    subnets = [ip_network(subnet) for lease in ledger.leases for subnet in lease.subnets]
    assert not [pair for pair in combinations(subnets, 2) if pair[0].overlaps(pair[1])]
    clusters, reserved = map(ip_network, network.cluster_cidrs), [ip_network(held) for held in network.reserved]
    starts = [(int(cluster.network_address), int(cluster.broadcast_address)) for cluster in clusters]
    for subnet in subnets:
        assert any(start <= int(subnet.network_address) and int(subnet.broadcast_address) <= end for start, end in starts)
        assert not any(subnet.overlaps(held) for held in reserved)


@given(NETWORKS, HISTORIES, INVENTORIES)
def test_nothing_that_is_taken_ever_moves(network: Network, history: list[dict[str, Any]], inventory: dict[str, Any]) -> None:
    before = lived(network, history)
    after = {lease.name: lease for lease in plan(before, network, hosts(inventory)).leases}
    for lease in before.leases:
        assert (after[lease.name].subnets, after[lease.name].vtep_mac) == (lease.subnets, lease.vtep_mac)
        assert after[lease.name].state == ("active" if lease.name in inventory else "retired")


@given(NETWORKS, INVENTORIES, st.randoms())
def test_the_order_of_the_inventory_does_not_matter(network: Network, inventory: dict[str, Any], random: Any) -> None:
    shuffled = list(inventory.items())
    random.shuffle(shuffled)
    assert text(plan(None, network, hosts(dict(shuffled)))) == text(plan(None, network, hosts(inventory)))


@given(NETWORKS, HISTORIES, SIZES)
def test_a_host_that_joins_changes_its_own_line_alone(network: Network, history: list[dict[str, Any]], size: Any) -> None:
    before = lived(network, history)
    after = plan(before, network, [*hosts(history[-1]), Host.of("zz", "203.0.113.1", node_prefix=size)])
    assert [change.command.split()[:2] for change in line_changes(before, after)] == [["lease", "zz"]]
    assert set(before.leases) < set(after.leases)


@given(NETWORKS, HISTORIES)
def test_a_new_subnet_is_the_lowest_that_is_free(network: Network, history: list[dict[str, Any]]) -> None:
    before = lived(network, history)
    joined = plan(before, network, [*hosts(history[-1]), Host.of("zz", "203.0.113.1")])
    taken = [ip_network(text) for text in [*network.reserved, *(s for lease in before.leases for s in lease.subnets)]]
    new = ip_network(next(lease for lease in joined.leases if lease.name == "zz").subnets[0])
    lower = [s for cidr in network.cluster_cidrs for s in ip_network(cidr).subnets(new_prefix=24 if ":" not in cidr else 64)]
    assert not [s for s in lower if s.version == new.version and int(s[0]) < int(new[0]) and not any(s.overlaps(held) for held in taken)]


@given(NETWORKS, HISTORIES)
def test_every_subnet_is_aligned_and_as_large_as_asked_for(network: Network, history: list[dict[str, Any]]) -> None:
    first = {name: size for inventory in reversed(history) for name, size in inventory.items()}
    for lease in lived(network, history).leases:
        assert [str(ip_network(subnet)) for subnet in lease.subnets] == list(lease.subnets)  # ip_network refuses what is not aligned
        assert ip_network(lease.subnets[0]).prefixlen == (first[lease.name] or 24)


@given(NETWORKS, INVENTORIES, st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
def test_who_leaves_and_returns_has_what_it_had(network: Network, inventory: dict[str, Any], gone: list[str]) -> None:
    before = plan(None, network, hosts(inventory))
    left = plan(before, network, hosts({name: size for name, size in inventory.items() if name not in gone}))
    assert plan(parse(text(left).encode(), "x"), network, hosts(inventory)).leases == before.leases


@given(st.sampled_from(["172.20.0.0/23", "172.20.0.0/20"]), HISTORIES, INVENTORIES)
def test_a_range_that_grows_moves_nobody(cluster: str, history: list[dict[str, Any]], inventory: dict[str, Any]) -> None:
    small = Network.of(cluster)
    try:
        before = lived(small, history)
    except Refused:
        return  # it did not fit
    for wider in ("172.20.0.0/16", [cluster, "172.30.0.0/16"], ["172.30.0.0/16", cluster]):
        after = {lease.name: lease.subnets for lease in plan(before, Network.of(wider), hosts(inventory)).leases}
        assert all(after[lease.name] == lease.subnets for lease in before.leases)


def buddies(cluster: str, taken: list[IPv4Network], sizes: list[int]) -> bool:
    """Whether a plain buddy allocator finds room for all: it halves the smallest free block that is large enough, the lowest of those."""
    free = [IPv4Network(cluster)]
    for held in taken:
        within = next(block for block in free if held.subnet_of(block))
        free = [block for block in free if block != within] + list(within.address_exclude(held))
    for size in sizes:
        fitting = [block for block in free if block.prefixlen <= size]
        if not fitting:
            return False
        block = min(fitting, key=lambda block: (-block.prefixlen, block.network_address))
        free.remove(block)
        free += list(block.address_exclude(next(block.subnets(new_prefix=size)))) if block.prefixlen < size else []
    return True


@settings(max_examples=300)
@given(
    st.sampled_from(["172.20.0.0/22", "172.20.0.0/21"]),
    st.lists(st.sampled_from([22, 23, 24, 25, 26, 28]).map(lambda size: max(size, 23)), max_size=14),
    st.integers(0, 14),
    st.lists(st.integers(0, 31), unique=True, max_size=3),
    st.randoms(),
)
def test_what_buddies_find_room_for_fits_and_nothing_else_does(
    cluster: str, sizes: list[int], joined: int, holes: list[int], dice: Any
) -> None:
    reserved = [IPv4Network(((172 << 24) + (20 << 16) + (hole << 6), 26)) for hole in holes]
    network = Network.of(cluster, reserved=[str(held) for held in reserved])
    reserved = [held for held in reserved if held.subnet_of(IPv4Network(cluster))]
    order = [f"n{number:02}" for number in range(len(sizes))]
    dice.shuffle(order)
    every = [Host.of(name, f"198.51.100.{number + 1}", node_prefix=size) for number, (name, size) in enumerate(zip(order, sizes))]
    wanted = buddies(cluster, reserved, [size for _order, size in sorted(zip(order, sizes))])
    assert (refusal(lambda: plan(None, network, every)) == "") == wanted
    if wanted:
        before = plan(None, network, every[:joined])
        taken = [*reserved, *(IPv4Network(lease.subnets[0]) for lease in before.leases)]
        later = buddies(cluster, taken, [size for _order, size in sorted(zip(order[joined:], sizes[joined:]))])
        assert not later or refusal(lambda: plan(before, network, every)) == ""


@given(NETWORKS, HISTORIES)
def test_a_second_plan_changes_nothing_and_the_text_reads_back(network: Network, history: list[dict[str, Any]]) -> None:
    ledger = lived(network, history)
    assert plan(ledger, network, hosts(history[-1])) == ledger
    assert parse(text(ledger).encode(), "x") == ledger
    assert text(parse(text(ledger).encode(), "x")) == text(ledger)


@settings(max_examples=400)
@given(st.lists(LEASES, max_size=4, unique_by=lambda lease: lease.name))
def test_all_leases_looked_at_together_are_what_each_is_by_itself(leases: list[Lease]) -> None:
    ledger = Ledger(1, Network.of(["172.20.0.0/16", "2001:db8:244::/48"]), tuple(sorted(leases, key=lambda lease: lease.name)))
    raw = text(ledger).encode()
    found: list[Ledger] = []
    closely = refusal(lambda: found.append(vars(_plan)["_looked_at"]("x", ledger)))
    quickly = vars(_ledger)["_as_we_write_it"](raw, "x")
    if any(not _plan.HOST_NAME.fullmatch(lease.name) for lease in leases):
        closely = "x: a host's name is "
    assert refusal(lambda: found.append(parse(raw, "x"))).startswith(closely)
    assert all(each == found[0] and each.blocks == found[0].blocks for each in found)
    assert quickly is None or [quickly] == found[:1]


@given(NETWORKS, HISTORIES, st.lists(st.sampled_from(("02:00:00:00:00:01", "02:00:00:00:00:02")), unique=True))
def test_what_we_wrote_is_read_at_a_glance(network: Network, history: list[dict[str, Any]], macs: list[str]) -> None:
    before = lived(network, history)
    given = [host._replace(mac=mac) for host, mac in zip(hosts(history[-1]), macs)]
    ledger = plan(before, network, [*given, *hosts(history[-1])[len(given) :]])
    assert vars(_ledger)["_as_we_write_it"](text(ledger).encode(), "x") == (ledger if ledger.leases else None)


@given(NETWORKS, HISTORIES, INVENTORIES)
def test_a_host_that_is_told_what_follows_for_it_gets_what_it_gets_unasked(
    network: Network, history: list[dict[str, Any]], inventory: dict[str, Any]
) -> None:
    before = lived(network, history)
    held = {lease.name: lease.vtep_mac for lease in before.leases}
    told = [host._replace(mac=held.get(host.name)) for host in hosts(inventory)]  # with a MAC it is no host of whom nothing is new
    after = plan(before, network, hosts(inventory))
    assert (text(plan(before, network, told)), plan(before, network, told).blocks) == (text(after), after.blocks)
    assert after.blocks == parse(text(after).encode(), "x").blocks


@given(NETWORKS, HISTORIES)
def test_the_generation_grows_exactly_with_the_changes(network: Network, history: list[dict[str, Any]]) -> None:
    ledger = lived(network, history[:1])
    for inventory in history[1:]:
        after = plan(ledger, network, hosts(inventory))
        assert after.generation - ledger.generation == (1 if line_changes(ledger, after) else 0)
        ledger = after


@given(NETWORKS, HISTORIES)
def test_no_two_nodes_have_one_mac(network: Network, history: list[dict[str, Any]]) -> None:
    macs = [lease.vtep_mac for lease in lived(network, history).leases]
    assert len(set(macs)) == len(macs)


@given(st.integers(1, (1 << 24) - 1), st.integers(1, (1 << 24) - 1))
def test_different_subnets_have_different_macs(one: int, other: int) -> None:
    first, second = (str(ip_network((number << 8, 24))) for number in (one, other))
    if ip_network(first).is_loopback or ip_network(second).is_loopback or max(one, other) >= 0xE00000 or min(one, other) < 1 << 16:
        return
    assert (vtep_mac(first) == vtep_mac(second)) == (one == other)
    assert int(vtep_mac(first)[:2], 16) & 3 == 2  # locally administered, unicast


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(20, 28)), max_size=7))
def test_overlaps_are_found_as_by_comparing_all_pairs(pins: list[tuple[int, int]]) -> None:
    subnets = [str(ip_network(((172 << 24) + (20 << 16) + (block << 8), length), strict=False)) for block, length in pins]
    pinned = [
        Host.of(f"node{number}", f"198.51.100.{number + 1}", subnet, ip_network(subnet).prefixlen) for number, subnet in enumerate(subnets)
    ]
    wanted = any(ip_network(one).overlaps(ip_network(other)) for one, other in combinations(subnets, 2))
    assert ("it overlaps" in refusal(lambda: plan(None, Network.of("172.20.0.0/16"), pinned))) == wanted


@given(
    st.text()
    | st.integers()
    | st.none()
    | st.lists(st.text(max_size=5), max_size=2)
    | st.booleans()
    | st.dictionaries(st.text(), st.text())
)
def test_no_value_of_any_variable_breaks_out_of_its_sentence(value: Any) -> None:
    for variable in ("cluster_cidr", "service_cidr", "node_prefix", "reserved"):
        assert SPLITS.isdisjoint(refusal(partial(Network.of, **{"cluster_cidr": "172.20.0.0/16", variable: value})))
    for variable in ("name", "underlay", "subnet", "node_prefix", "mac"):
        assert SPLITS.isdisjoint(refusal(partial(Host.of, **{"name": "a", "underlay": "198.51.100.1", variable: value})))


def test_a_thousand_nodes_are_planned_like_three() -> None:
    size = 1000
    network = Network.of("10.0.0.0/8", node_prefix=22)
    many = [Host.of(f"n{number}", f"198.18.{number >> 8}.{number & 255}") for number in range(1, size + 1)]
    ledger = plan(None, network, many)
    assert _plan.capacity(ledger) == {"total": 16384, "taken": size, "free": 16384 - size}
    assert plan(ledger, network, many[::-1]) == ledger
