# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of peers on a real kernel: programmed, repaired, purged, and equal to what iproute2 makes of their texts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._entry import entry_target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import Entry
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node import FDB, NEIGHBOURS, PEERS, ROUTES, Node, commands, device, peers, target


def test_two_peers_are_two_of_each_kind_in_order(node: Node) -> None:
    device()
    assert peers() == [*NEIGHBOURS, *FDB, *ROUTES]
    assert "172.20.1.0/24 via 172.20.1.0 dev flannel.1 proto 86 scope global onlink" in node.run("ip -d route")
    assert node.run("bridge fdb show dev flannel.1").splitlines().count("02:f1:ac:14:01:00 dst 198.51.100.2 self permanent") == 1


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        ("ip neigh del 172.20.1.0 dev flannel.1", NEIGHBOURS[:1]),
        ("ip neigh replace 172.20.1.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent", NEIGHBOURS[:1]),
        ("ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud reachable", NEIGHBOURS[:1]),
        ("bridge fdb del 02:f1:ac:14:01:00 dev flannel.1", FDB[:1]),
        ("bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.9 self permanent", FDB[:1]),
        ("bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 port 9999 self permanent", FDB[:1]),
        ("bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self dynamic", FDB[:1]),
        ("ip route del 172.20.1.0/24", ROUTES[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86", ROUTES[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto static", ROUTES[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink mtu 1000", ROUTES[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.2.0 dev flannel.1 onlink", ROUTES[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86 mtu 1000", ROUTES[:1]),
        ("ip neigh flush dev flannel.1 nud permanent", NEIGHBOURS),
        ("ip route flush dev flannel.1 proto 86", ROUTES),
    ],
)
def test_what_somebody_spoiled_is_repaired_and_nothing_else_is_touched(overlay: Node, spoil: str, repair: list[str]) -> None:
    before, index = overlay.dump(), overlay.index("flannel.1")
    overlay.run(spoil)
    assert peers(check=True) == repair
    assert peers() == repair
    assert (overlay.dump(), overlay.index("flannel.1"), device()) == (before, index, [])


def flanneld(node: Node) -> None:
    """Routes as flanneld makes them; the neighbours and fdb entries that it makes do not differ from ours."""
    for n in (1, 2):
        node.run(f"ip route replace 172.20.{n}.0/24 via 172.20.{n}.0 dev flannel.1 onlink")


def test_routes_of_flanneld_do_what_ours_would_and_stay(overlay: Node) -> None:
    flanneld(overlay)
    before = overlay.dump()
    assert (before.count("proto boot"), peers(), device()) == (2, [], [])
    assert commands(entry_target("node1", PodRoute("flannel.1", "172.20.1.0/24", "172.20.1.0"), "present")) == []
    assert overlay.dump() == before


def test_a_route_of_flanneld_to_a_node_that_left_goes_with_its_entries(overlay: Node) -> None:
    flanneld(overlay)
    assert peers(wanted=PEERS[:1]) == [
        "ip route del 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink proto 3",
        "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
        "ip neigh del 172.20.2.0 dev flannel.1",
    ]


def test_a_route_of_flanneld_outlives_a_new_device(overlay: Node) -> None:
    flanneld(overlay)
    before = overlay.run("ip -d -4 route")
    assert ROUTES[0].replace("proto 86", "proto 3") in device(port=4789, recreate=True)
    assert (peers(), overlay.run("ip -d -4 route")) == ([], before)


def test_a_route_of_flanneld_makes_place_for_a_nexthop_where_these_are_asked_for(overlay: Node) -> None:
    flanneld(overlay)
    assert peers(nexthops="always")[-1] == "ip route replace 172.20.2.0/24 nhid 2886992384 proto 86"
    assert "proto boot" not in overlay.dump()


def test_another_devices_route_of_flannels_form_is_an_error_and_stays(overlay: Node) -> None:
    overlay.run("ip link add flannel.2 type vxlan id 2 local 198.51.100.11 dev eth0 dstport 8472 nolearning")
    overlay.run("ip addr add 172.20.9.9/32 dev flannel.2")
    overlay.run("ip link set flannel.2 up")
    overlay.run("ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.2 onlink")
    before = overlay.dump()
    with pytest.raises(Refused, match=r"172.20.1.0/24 is already routed .* not ours .*dev flannel.2 onlink proto 3"):
        peers()
    assert overlay.dump() == before


def test_a_peer_that_left_is_purged_route_first(overlay: Node) -> None:
    assert peers(wanted=PEERS[:1]) == [
        "ip route del 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86",
        "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
        "ip neigh del 172.20.2.0 dev flannel.1",
    ]
    assert "172.20.2.0" not in overlay.dump()


def test_without_purge_other_entries_stay(overlay: Node) -> None:
    before = overlay.dump()
    assert peers(wanted=PEERS[:1], purge=False) == []
    assert overlay.dump() == before


def test_a_second_route_to_a_pod_subnet_goes(overlay: Node) -> None:
    before = overlay.dump()
    overlay.run("ip route append 172.20.1.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86")
    assert peers() == ["ip route del 172.20.1.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86"]
    assert overlay.dump() == before


def test_an_extra_destination_of_a_peer_goes_without_a_gap(overlay: Node) -> None:
    overlay.run("bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.51.100.9 self permanent")
    assert peers() == ["bridge fdb del 00:00:00:00:00:00 dev flannel.1 dst 198.51.100.9 self"]


def test_what_is_not_ours_stays(overlay: Node) -> None:
    overlay.run("ip link add other type vxlan id 7 local 198.51.100.11 dev eth0 dstport 8472 nolearning")
    overlay.run("ip link set other up")
    for foreign in (
        "ip route add 172.20.2.0/25 via 198.51.100.9 dev eth0 proto 86",
        "ip route add 172.20.77.0/24 via 172.20.77.0 dev flannel.1 onlink proto static",
        "ip route add 172.20.1.0/24 via 198.51.100.9 dev eth0 metric 7",
        "ip neigh replace 172.20.1.0 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
        "ip neigh replace 172.20.99.9 lladdr 02:00:00:00:00:09 dev flannel.1 nud stale",
        "bridge fdb append 02:00:00:00:00:09 dev other dst 198.51.100.9 self permanent",
        "bridge fdb append 02:00:00:00:00:08 dev flannel.1 dst 198.51.100.9 self dynamic",
    ):
        overlay.run(foreign)
    before = overlay.dump() + overlay.run("ip neigh show")
    assert peers() == []
    assert overlay.dump() + overlay.run("ip neigh show") == before
    peers(wanted=[])
    left = overlay.dump() + overlay.run("ip neigh show")
    for mark in ("172.20.2.0/25", "172.20.77.0/24", "metric 7", "172.20.99.9", "02:00:00:00:00:08", "dev other dst"):
        assert mark in left


def test_a_foreign_route_for_a_pod_subnet_is_an_error_and_stays(node: Node) -> None:
    device()
    node.run("ip route add 172.20.1.0/24 via 198.51.100.9 dev eth0 proto static")
    before = node.dump()
    with pytest.raises(Refused, match=r"172.20.1.0/24 is already routed .* not ours .*via 198.51.100.9 dev eth0 proto 4"):
        peers()
    assert node.dump() == before


def test_a_missing_device_is_said_with_the_command_that_needed_it(node: Node) -> None:
    with pytest.raises(Failed, match=r"ip neigh replace 172.20.1.0 .*: there is no device flannel.1 on this node"):
        peers()


def test_a_refusal_in_the_middle_names_its_entry_and_lists_what_was_done(overlay: Node) -> None:
    wanted = [*PEERS, {"node": "node4", "subnets": ["172.20.3.0/24"], "underlay": "2001:db8::9", "mac": "02:f1:ac:14:03:00"}]
    with pytest.raises(Failed, match=r"bridge fdb replace 02:f1:ac:14:03:00 .*: .*") as failure:
        peers(wanted=wanted)
    assert failure.value.done == ("ip neigh replace 172.20.3.0 lladdr 02:f1:ac:14:03:00 dev flannel.1 nud permanent",)
    assert "172.20.3.0/24" not in overlay.run("ip route")


@pytest.mark.parametrize(
    ("peer", "sentence"),
    [
        ({"mac": "02:f1:ac:14:00:00"}, "node1: the mac of a peer is 02:f1:ac:14:00:00: flannel.1 itself has it"),
        ({"underlay": "198.51.100.1"}, "node1: the underlay of a peer is 198.51.100.1: flannel.1 itself sends from it"),
        ({"underlay": "127.0.0.1"}, "peer node2: underlay is 127.0.0.1: expected the unicast address"),
        ({"underlay": "239.0.0.1"}, "peer node2: underlay is 239.0.0.1"),
        ({"underlay": "::ffff:198.51.100.2"}, "peer node2: underlay is"),
        ({"mac": "33:33:00:00:00:01"}, "peer node2: mac is 33:33:00:00:00:01: expected a unicast MAC"),
        ({"subnets": ["0.0.0.0/0"]}, "peer node2: subnets is '0.0.0.0/0'"),
        ({"subnets": ["239.0.0.0/24"]}, "peer node2: subnets is '239.0.0.0/24'"),
        ({"subnets": ["172.20.1.9/24"]}, "peer node2: subnets is 172.20.1.9/24: it has host bits: write 172.20.1.0/24"),
        ({"subnets": ["172.20.1.0/24\nx"]}, "peer node2: subnets is"),
        ({"subnets": []}, "peer node2: subnets is empty"),
        ({"underlay": "198.51.100.3"}, "peer node3: underlay is 198.51.100.3: peer node2 has it too"),
        ({"mac": "02:f1:ac:14:02:00"}, "peer node3: mac is 02:f1:ac:14:02:00: peer node2 has it too"),
        ({"subnets": ["172.20.2.0/24"]}, "peer node3: subnets is 172.20.2.0/24: peer node2 has it too"),
    ],
)
def test_peers_that_cannot_work_are_refused_before_anything_changes(overlay: Node, peer: dict[str, Any], sentence: str) -> None:
    before = overlay.dump()
    with pytest.raises(Refused, match=sentence):
        peers(wanted=[{**PEERS[0], **peer}, PEERS[1]])
    assert overlay.dump() == before


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        (
            StaticNeigh("flannel.1", "172.20.9.0", "02:f1:ac:14:09:00"),
            "ip neigh replace 172.20.9.0 lladdr 02:f1:ac:14:09:00 dev flannel.1 nud permanent",
        ),
        (
            FdbEntry("flannel.1", "02:f1:ac:14:09:00", "198.51.100.9"),
            "bridge fdb replace 02:f1:ac:14:09:00 dev flannel.1 dst 198.51.100.9 self permanent",
        ),
        (
            PodRoute("flannel.1", "172.20.9.0/24", "172.20.9.0"),
            "ip route replace 172.20.9.0/24 via 172.20.9.0 dev flannel.1 onlink proto 86",
        ),
        (
            FdbEntry("flannel.1", "00:00:00:00:00:00", "198.51.100.9"),
            "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 198.51.100.9 self permanent",
        ),
    ],
)
def test_one_entry_comes_and_goes_alone(overlay: Node, entry: Entry, command: str) -> None:
    before = overlay.dump()

    def run(state: str) -> list[str]:
        return commands(entry_target("node1", entry, state))

    assert (run("present"), run("present")) == ([command], [])
    assert (run("absent"), run("absent")) == ([entry.absent], [])
    assert overlay.dump() == before


def test_a_delete_of_what_is_gone_is_success(overlay: Node) -> None:
    entry = PodRoute("flannel.1", "172.20.1.0/24", "172.20.1.0")
    gone = entry_target("node1", entry, "absent")
    steps = gone.drift()
    overlay.run("ip route del 172.20.1.0/24")
    gone.apply(steps)


def test_a_user_without_the_capability_is_told_before_anything(node: Node) -> None:
    code = "from ansible_collections.podnet.baremetal.plugins.module_utils._peers import peers_target\npeers_target({'node': 'node1'})\n"
    command = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", code]
    answer = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False
    )
    assert "node1: the module runs as user 65534 without CAP_NET_ADMIN: run it as root, with become: true." in answer.stderr


def test_a_second_run_waits_for_the_first(overlay: Node) -> None:
    first = target()
    code = "import fcntl, os; fcntl.flock(os.open('/proc/self/ns/net', os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with first.lock():
        assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 1
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_thousand_peers_are_programmed_and_read_back(node: Node) -> None:
    device()
    wanted = [
        {
            "node": f"n{n}",
            "subnets": [f"10.{n >> 8}.{n & 255}.0/24"],
            "underlay": f"203.0.{n >> 8}.{n & 255}",
            "mac": f"02:f1:0a:{n >> 8:02x}:{n & 255:02x}:00",
        }
        for n in range(1, 1001)
    ]
    assert len(peers(wanted=wanted)) == 3000
    assert peers(wanted=wanted) == []
    assert len(peers(wanted=wanted[1:])) == 3


# --- the same tables by our messages and by iproute2's -----------------------

numbers = st.integers(min_value=1, max_value=250)
random_peers = st.lists(
    st.builds(
        lambda n, more, length: {
            "node": f"node{n}",
            "subnets": [f"172.20.{n}.0/{length}", *([f"2001:db8:{n:x}::/64"] if more else [])],
            "underlay": f"198.51.100.{n}",
            "mac": f"02:f1:ac:14:{n:02x}:00",
        },
        numbers.filter(lambda n: n not in {1, 11}),
        st.booleans(),
        st.sampled_from([24, 25, 26]),
    ),
    max_size=6,
    unique_by=lambda peer: peer["node"],
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random_peers, random_peers)
def test_random_tables_come_out_as_iproute2_makes_them(node: Node, first: list[dict[str, Any]], then: list[dict[str, Any]]) -> None:
    tables = []
    for program in (_by_messages, _by_iproute2):
        device(addresses=["172.20.0.0/32", "2001:db8:ffff::/128"])
        program(node, first)
        program(node, then)
        tables.append(node.dump())
        device(state="absent")
    ours, theirs = ([line for line in table.splitlines() if "flannel.1" in line and "<" not in line] for table in tables)
    assert ours == theirs
    assert len(then) == sum(" dst " in line for line in ours)


def _by_messages(node: Node, wanted: list[dict[str, Any]]) -> None:
    peers(wanted=wanted)


def _by_iproute2(node: Node, wanted: list[dict[str, Any]]) -> None:
    for step in target(wanted).drift():
        node.run(step.command)
