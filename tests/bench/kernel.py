# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for benchmarks: a network namespace, its VXLAN device, and the same peers as values and for iproute2. I/O: the kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from enclosed import network
from measure import answer

DEVICE = "flannel.1"
OWN_MAC = "02:f1:0a:00:00:00"
OWN_UNDERLAY = "198.19.255.1"
NODE = (
    "sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1",
    "ip link set lo up",
    "ip link add eth0 type veth peer name switch0",
    f"ip addr add {OWN_UNDERLAY}/15 dev eth0",  # RFC 2544: for benchmarks, and the only such range with room for all of them
    "ip link set eth0 up",
    "ip link set switch0 up",
)
CREATE = (
    f"ip link add {DEVICE} address {OWN_MAC} type vxlan id 1 local {OWN_UNDERLAY} dev eth0 dstport 8472 nolearning",
    f"ip link set {DEVICE} up",
    f"ip addr add 10.0.0.0/32 dev {DEVICE}",
)
Peer = dict[str, Any]


@contextmanager
def node() -> Iterator[None]:
    """This process is on a node without a device."""
    with network():
        run(*NODE)
        yield


def run(*commands: str) -> None:
    for command in commands:
        answer(command.split())


def new_device() -> None:
    """The device as it is before the first peer."""
    subprocess.run(["ip", "link", "del", DEVICE], stderr=subprocess.DEVNULL, check=False)
    run(*CREATE)


def peers(n: int) -> list[Peer]:
    return [
        {
            "node": f"node{i}",
            "subnets": [f"10.{i >> 8}.{i & 255}.0/24"],
            "underlay": f"198.{18 + (i >> 16)}.{i >> 8 & 255}.{i & 255}",
            "mac": f"02:f1:0a:{i >> 8:02x}:{i & 255:02x}:00",
        }
        for i in range(1, n + 1)
    ]


class Batches:
    """Files for `ip -batch` and `bridge -batch` that make the peers reachable."""

    def __init__(self, directory: Path, wanted: list[Peer]) -> None:
        gateways = {peer["subnets"][0]: peer["subnets"][0].split("/")[0] for peer in wanted}
        self._ip = directory / f"ip{len(wanted)}.batch"
        self._bridge = directory / f"bridge{len(wanted)}.batch"
        neighbours = [f"neigh replace {gateways[p['subnets'][0]]} lladdr {p['mac']} dev {DEVICE} nud permanent" for p in wanted]
        routes = [f"route replace {subnet} via {gateway} dev {DEVICE} onlink proto 86" for subnet, gateway in gateways.items()]
        fdb = [f"fdb replace {p['mac']} dev {DEVICE} dst {p['underlay']} self permanent" for p in wanted]
        self._ip.write_text("\n".join([*neighbours, *routes, ""]))
        self._bridge.write_text("\n".join([*fdb, ""]))

    def load(self) -> None:
        answer(["ip", "-batch", str(self._ip)])
        answer(["bridge", "-batch", str(self._bridge)])


def entries() -> tuple[int, int, int]:
    """How many permanent neighbours, fdb entries and routes the device has."""
    shown = (f"ip neigh show dev {DEVICE} nud permanent", f"bridge fdb show dev {DEVICE}", "ip -4 route show")
    neighbours, fdb, routes = (answer(command.split()).splitlines() for command in shown)
    return len(neighbours), sum(" dst " in line for line in fdb), sum(f" dev {DEVICE} " in f"{line} " for line in routes)


def show() -> None:
    """Everything that a no-op has to read, as text and thrown away."""
    for command in (f"ip -j neigh show dev {DEVICE}", "ip -j route show", f"bridge -j fdb show dev {DEVICE}"):
        subprocess.run(command.split(), stdout=subprocess.DEVNULL, check=True)


def forget(peer: Peer) -> None:
    """The peer's entries are gone."""
    gateway = peer["subnets"][0].split("/")[0]
    run(
        f"ip route del {peer['subnets'][0]}",
        f"bridge fdb del {peer['mac']} dev {DEVICE} dst {peer['underlay']} self",
        f"ip neigh del {gateway} dev {DEVICE}",
    )
    # Few peers, and an old kernel, do without nexthop objects.
    subprocess.run(["ip", "nexthop", "del", "id", str(int(ip_address(gateway)))], stderr=subprocess.DEVNULL, check=False)
