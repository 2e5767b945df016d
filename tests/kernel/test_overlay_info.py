# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What overlay_info reads back from a real kernel, whoever made it: ours, what flanneld left, half of it, nothing. I/O: kernel, files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._info import overlay, subnet_env_of
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.modules.overlay_info import ARGUMENTS
from node import FDB, NEIGHBOURS, OPTIONS, PEERS, ROUTES, UNREACHABLE, Node, device

GOLDEN = Path(__file__).parent.parent / "golden"  # recorded from flanneld v0.28.9
DEFAULTS: dict[str, Any] = {name: option.get("default") for name, option in ARGUMENTS.items()}
LEDGERS = {"plan": pack_plan(PEERS), **{option: OPTIONS[option] for option in ("local", "mac", "addresses", "cluster_cidrs")}}
DEVICE = {
    "name": "flannel.1",
    "vni": 1,
    "port": 8472,
    "local": "198.51.100.1",
    "interface": "eth0",
    "mac": "02:f1:ac:14:00:00",
    "mtu": 1450,
    "up": True,
    "addresses": ["172.20.0.0/32"],
}
THERE = [{name: peer[name] for name in ("subnets", "underlay", "mac")} for peer in PEERS]
IN_LINE = {"commands": [], "missing": [], "refused": ""}


def info(check: bool = False, **options: Any) -> dict[str, Any]:
    """What a run of overlay_info returns."""
    given = {**DEFAULTS, "node": "node1", "subnet_env": "/nowhere/subnet.env", **options}
    result = converge(overlay(given), check=check).result(diff=True)
    assert (result.pop("changed"), result.pop("commands"), result.pop("diff")["after"]) == (False, [], "")
    return result


def test_a_node_without_an_overlay_is_no_error(node: Node) -> None:
    before = node.dump()
    brief = {"device": None, "device6": None, "subnet_env": None, "generation": 0}
    assert info() == {**brief, "peers": [], "unreachable_ranges": [], "drift": None}
    drift = info(**LEDGERS)["drift"]
    assert drift["commands"][0] == UNREACHABLE
    assert drift["commands"][1].startswith("ip link add name flannel.1 address 02:f1:ac:14:00:00 mtu 1450")
    assert drift["commands"][-6:] == [*NEIGHBOURS, *FDB, *ROUTES]
    assert (drift["missing"], drift["refused"]) == (["172.20.1.0/24", "172.20.2.0/24"], "")
    assert node.dump() == before


def test_what_the_modules_made_is_read_back_and_in_line(overlay: Node) -> None:
    before = overlay.dump()
    brief = {"device": DEVICE, "device6": None, "subnet_env": None, "generation": 0}
    assert info(**LEDGERS) == {**brief, "peers": THERE, "unreachable_ranges": ["172.20.0.0/16"], "drift": IN_LINE}
    assert info(check=True, **LEDGERS) == info(**LEDGERS)
    assert info(brief=True, **LEDGERS) == brief
    assert overlay.dump() == before


def test_what_is_missing_or_wrong_is_said_as_the_commands_that_would_repair_it(overlay: Node) -> None:
    overlay.run("ip route del 172.20.1.0/24")
    overlay.run("bridge fdb del 02:f1:ac:14:02:00 dev flannel.1")
    overlay.run("ip link set flannel.1 mtu 1400")
    found = info(**LEDGERS)
    assert found["drift"] == {
        "commands": ["ip link set dev flannel.1 mtu 1450", FDB[1], ROUTES[0]],
        "missing": ["172.20.1.0/24"],
        "refused": "",
    }
    assert found["peers"] == [{**THERE[0], "subnets": []}, {**THERE[1], "underlay": ""}]
    overlay.run("ip neigh del 172.20.2.0 dev flannel.1")
    assert info()["peers"][1:] == [{"subnets": ["172.20.2.0/24"], "underlay": "", "mac": ""}]


def test_what_the_ledger_does_not_have_is_said_too_and_a_wrong_route_is_not_a_missing_one(overlay: Node) -> None:
    overlay.run("ip route replace 172.20.1.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86")
    one = {**LEDGERS, "plan": pack_plan(PEERS[:1])}
    assert info(**one)["drift"] == {
        "commands": [
            ROUTES[0],
            ROUTES[1].replace("replace", "del"),
            "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
            "ip neigh del 172.20.2.0 dev flannel.1",
        ],
        "missing": [],
        "refused": "",
    }


def test_peers_by_nexthop_are_read_like_those_by_gateway(overlay: Node) -> None:
    for n in (1, 2):
        overlay.run(f"ip nexthop replace id {n} via 172.20.{n}.0 dev flannel.1 onlink proto 86")
        overlay.run(f"ip route replace 172.20.{n}.0/24 nhid {n} proto 86")
    assert info()["peers"] == THERE


def test_what_cannot_be_brought_in_line_says_why(overlay: Node) -> None:
    assert "port is 8472 and must be 4789" in info(**LEDGERS, port=4789)["drift"]["refused"]
    assert "no interface of this node carries it" in info(**{**LEDGERS, "local": "203.0.113.1"})["drift"]["refused"]


def test_another_kind_of_link_is_no_device(node: Node) -> None:
    node.run("ip link add flannel.1 type bridge")
    found = info(**LEDGERS)
    assert found["device"] is None
    assert "flannel.1 exists and is a link of kind bridge, not vxlan" in found["drift"]["refused"]


def test_both_devices_of_flannels_dual_stack_are_read(overlay: Node) -> None:
    for command in (
        "ip link add flannel-v6.1 address 02:00:00:00:00:06 type vxlan id 1 local 2001:db8::1 dev eth0 dstport 8472 nolearning",
        "ip addr add 2001:db8:244::/128 dev flannel-v6.1 nodad",
        "ip link set flannel-v6.1 up",
        "ip neigh replace 2001:db8:244:1:: lladdr 02:00:00:00:01:06 dev flannel-v6.1 nud permanent",
        "bridge fdb replace 02:00:00:00:01:06 dev flannel-v6.1 dst 2001:db8::2 self permanent",
        "ip route replace 2001:db8:244:1::/64 via 2001:db8:244:1:: dev flannel-v6.1 onlink",
    ):
        overlay.run(command)
    found = info()
    assert (found["device"], found["device6"]["mac"], found["device6"]["local"]) == (DEVICE, "02:00:00:00:00:06", "2001:db8::1")
    assert found["device6"]["addresses"] == ["2001:db8:244::/128"]
    assert found["peers"] == [*THERE, {"subnets": ["2001:db8:244:1::/64"], "underlay": "2001:db8::2", "mac": "02:00:00:00:01:06"}]
    second = {"node": "node2", "subnets": ["2001:db8:244:1::/64"], "underlay": "2001:db8::2", "mac": "02:00:00:00:01:06"}
    both = {"local6": "2001:db8::1", "mac6": "02:00:00:00:00:06", "addresses": ["172.20.0.0/32", "2001:db8:244::/128"]}
    assert info(**{**LEDGERS, **both, "plan": pack_plan([*PEERS, second])})["drift"] == {
        "commands": [
            "ip link set dev flannel.1 mtu 1430",
            "ip link set dev flannel-v6.1 txqueuelen 0",
            "sysctl -w net.ipv6.conf.flannel-v6/1.accept_ra=0",
        ],
        "missing": [],
        "refused": "",
    }, "an IPv4 node becomes one of both"


@pytest.mark.parametrize(
    ("case", "networks", "subnets"),
    [
        ("vxlan", ["10.244.0.0/16"], ["10.244.97.0/24"]),
        ("dual", ["10.244.0.0/16", "fd00:10:244::/48"], ["10.244.9.0/24", "fd00:10:244:12::/64"]),
    ],
)
def test_a_recorded_subnet_env_is_read(node: Node, tmp_path: Path, case: str, networks: list[str], subnets: list[str]) -> None:
    path = shutil.copy(GOLDEN / case / "node1.subnet.env", tmp_path)
    assert info(subnet_env=str(path))["subnet_env"] == {"networks": networks, "subnets": subnets, "mtu": 1450, "masquerade": True}


@pytest.mark.parametrize("text", ["FLANNEL_SUBNET=10.244.97.1/99\n", "FLANNEL_NETWORK=nonsense\n", "FLANNEL_MTU=many\n"])
def test_a_damaged_subnet_env_is_one_sentence(text: str) -> None:
    with pytest.raises(Refused, match=r"node1: subnet.env: its content is damaged: .*expected what flannel writes, or no such file"):
        subnet_env_of(text, "node1: subnet.env")


def test_it_needs_no_device_to_be_called_as_flannel_calls_it(node: Node) -> None:
    device(name="vx7", vni=7, mac="02:f1:00:00:00:07", addresses=["172.20.7.0/32"])
    found = info(name="vx7")
    assert (found["device"]["vni"], found["device6"]) == (7, None)
    with pytest.raises(Refused, match="name is 'x; y'"):
        info(name="x; y")
