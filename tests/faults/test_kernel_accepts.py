# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel takes though it can never work, or harms: the command that it takes, and our refusal. I/O: a network namespace."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from node import PEERS, Node, device, peers

SUBNETS = PEERS[0]["subnets"]


def made(name: str = "x", vni: str = "9", local: str = "198.51.100.1", port: str = "8472", more: str = "") -> str:
    return f"ip link add {name} {more} type vxlan id {vni} local {local} dev eth0 dstport {port} nolearning"


def fdb(mac: str = "02:00:00:00:00:09", destination: str = "198.51.100.9", verb: str = "replace") -> str:
    return f"bridge fdb {verb} {mac} dev flannel.1 dst {destination} self permanent"


def neighbour(mac: str, address: str = "172.20.9.0") -> str:
    return f"ip neigh replace {address} lladdr {mac} dev flannel.1 nud permanent"


def route(subnet: str, gateway: str = "172.20.1.0") -> str:
    return f"ip route replace {subnet} via {gateway} dev flannel.1 onlink"


def address(value: str) -> str:
    return f"ip addr add {value} dev flannel.1"


# What is asked of our modules, and the command by which the kernel takes it.
DEVICES: list[tuple[dict[str, Any], str]] = [
    ({"vni": 0}, made(vni="0")),
    ({"port": 0}, made(port="0")),
    ({"local": "0.0.0.0"}, made(local="0.0.0.0", vni="10")),
    ({"local": "127.0.0.1"}, made(local="127.0.0.1", vni="11")),
    ({"local": "203.0.113.9"}, made(local="203.0.113.9", vni="12")),
    ({"local": "198.51.100.255"}, made(local="198.51.100.255", vni="13")),
    ({"local": "255.255.255.255"}, made(local="255.255.255.255", vni="14")),
    ({"local": "::1"}, made(local="::1", vni="15")),
    ({"local": "2001:db8::9"}, made(local="2001:db8::9", vni="16")),
    ({"mtu": 68}, made(more="mtu 68", vni="17")),
    ({"mtu": 575}, made(more="mtu 575", vni="18")),
    ({"name": "a;b"}, made("a;b", vni="20")),
    ({"name": "$(id)"}, made("$(id)", vni="21")),
    ({"name": "`id`"}, made("`id`", vni="22")),
    ({"name": "{{x}}"}, made("{{x}}", vni="23")),
    ({"name": "-rf"}, made("name -rf", vni="24")),
    ({"name": "d%d"}, made("d%d", vni="25")),
    ({"name": "flännel"}, made("flännel", vni="26")),
    ({"name": "FLANNEL"}, made("FLANNEL", vni="27")),
    ({"name": "a|b"}, made("a|b", vni="28")),
    ({"name": "a'b"}, made("a'b", vni="29")),
    ({"name": "a\x1b[2Jb"}, made("a\x1b[2Jb", vni="30")),
    ({"addresses": ["0.0.0.0/32"]}, address("0.0.0.0/32")),
    ({"addresses": ["239.0.0.1/32"]}, address("239.0.0.1/32")),
    ({"addresses": ["127.0.0.9/32"]}, address("127.0.0.9/32")),
    ({"addresses": ["255.255.255.255/32"]}, address("255.255.255.255/32")),
    ({"addresses": ["198.51.100.1/32"]}, address("198.51.100.1/32")),
    ({"addresses": ["::ffff:172.20.0.0/128"]}, address("::ffff:172.20.0.0/128")),
]
OF_PEERS: list[tuple[dict[str, Any], str]] = [
    ({"underlay": "198.51.100.1"}, fdb(destination="198.51.100.1")),
    ({"underlay": "0.0.0.0"}, fdb(destination="0.0.0.0")),
    ({"underlay": "127.0.0.1"}, fdb(destination="127.0.0.1")),
    ({"underlay": "239.0.0.1"}, fdb(destination="239.0.0.1")),
    ({"underlay": "255.255.255.255"}, fdb(destination="255.255.255.255")),
    ({"underlay": "172.20.1.9"}, fdb(destination="172.20.1.9")),
    ({"underlay": "198.51.100.3"}, fdb(destination="198.51.100.3")),
    ({"mac": "02:f1:ac:14:00:00"}, fdb(mac="02:f1:ac:14:00:00")),
    ({"mac": "00:00:00:00:00:00"}, fdb(mac="00:00:00:00:00:00", verb="append")),
    ({"mac": "02:f1:ac:14:02:00"}, fdb(mac="02:f1:ac:14:02:00", destination="198.51.100.2", verb="append")),
    ({"mac": "01:00:5e:00:00:01"}, neighbour("01:00:5e:00:00:01")),
    ({"mac": "33:33:00:00:00:01"}, neighbour("33:33:00:00:00:01")),
    ({"mac": "ff:ff:ff:ff:ff:ff"}, neighbour("ff:ff:ff:ff:ff:ff")),
    ({"subnets": ["0.0.0.0/0"]}, route("0.0.0.0/0")),
    ({"subnets": ["198.0.0.0/8"]}, route("198.0.0.0/8")),
    ({"subnets": ["198.51.100.0/24"]}, route("198.51.100.0/24")),
    ({"subnets": ["239.0.0.0/24"]}, route("239.0.0.0/24")),
    ({"subnets": ["127.0.0.0/8"]}, route("127.0.0.0/8")),
    ({"subnets": ["172.20.2.0/24"]}, route("172.20.2.0/24")),
    ({"subnets": ["172.20.0.0/24"]}, route("172.20.0.0/24")),
]


@pytest.fixture
def used(overlay: Node) -> Node:
    """A node whose pods are on a bridge."""
    for command in ("ip link add cni0 type bridge", "ip addr add 172.20.0.1/24 dev cni0", "ip link set cni0 up"):
        overlay.run(command)
    return overlay


def test_each_is_refused_in_one_sentence_and_nothing_is_changed(used: Node) -> None:
    before = shown(used)
    refused = 0
    for options, _command in DEVICES:
        refused += is_refused(lambda options=options: device(**options), options)
    for fields, _command in OF_PEERS:
        refused += is_refused(lambda fields=fields: peers(wanted=[{**PEERS[0], **fields}, PEERS[1]]), fields)
    assert shown(used) == before
    sys.stdout.write(f"{refused} of {len(DEVICES) + len(OF_PEERS)} things that the kernel takes are refused\n")


def shown(node: Node) -> list[str]:
    """All that the kernel shows, without the clocks of the bridge."""
    return [line for line in node.dump().splitlines() if "_timer" not in line]


def is_refused(run: Any, asked: dict[str, Any]) -> bool:
    """With a sentence that names the field and its value."""
    try:
        run()
    except Refused as refusal:
        sentence = str(refusal)
        (field, value), *_rest = asked.items()
        given = str(value[0] if isinstance(value, list) else value).removesuffix("/32").removesuffix("/128")
        assert sentence.isprintable()
        assert field.rstrip("s") in sentence or "already routed" in sentence
        assert given in sentence or repr(given) in sentence
        return True
    raise AssertionError(f"{asked} was not refused")


def test_the_kernel_takes_each(used: Node) -> None:
    refusals = []
    for _options, command in (*DEVICES, *OF_PEERS):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        refusals += [f"{command}: {done.stderr.strip()}"] if done.returncode else []
        subprocess.run(["ip", "link", "del", command.split()[3]], capture_output=True, check=False) if " type vxlan " in command else None
    assert "\n".join(refusals) == ""
