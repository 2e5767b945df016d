# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridges of a node that keep pods from being attached, and who is attached to them. Does I/O."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from glob import glob
from ipaddress import ip_interface, ip_network
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step

RESULTS = "/var/lib/cni/results"  # of every runtime that uses libcni (CacheDir)
IPV4 = 4


def bridge_steps(node: str, bridge: str, subnets: Sequence[str]) -> list[Step]:
    """Take from the bridge what the plugin would refuse it for. Refused where pods are attached, or another bridge has the subnet."""
    addresses = _addresses() if subnets else {}
    for other in sorted(addresses.keys() - {bridge}):
        _refuse_overlap(node, other, addresses[other], subnets)
    wrong = [address for address in addresses.get(bridge, []) if _is_wrong(address, subnets)]
    pods = _attached(bridge) if wrong else []
    if pods:
        why = f"the pods {', '.join(pods)} are attached to it: detach them first, as by draining the node"
        raise refuse(node, "subnets", ", ".join(subnets), f"{bridge} has {', '.join(wrong)}, and {why}")
    return [
        Step(f"ip address delete {address} dev {bridge}", f"{address} dev {bridge}", "", partial(_delete_address, bridge, address))
        for address in wrong
    ]


def _attached(bridge: str) -> list[str]:
    """Who is attached to the bridge, by the names of pods where a runtime has kept them, and by the ports."""
    ports = sorted(link["ifname"] for link in _shown("link", "show", "master", bridge))
    names = _pods() if ports else {}
    return [f"{names[port]} by {port}" if port in names else port for port in ports]


def _refuse_overlap(node: str, other: str, addresses: Sequence[str], subnets: Sequence[str]) -> None:
    for address in addresses:
        network = ip_interface(address).network
        for subnet in map(ip_network, subnets):
            if network.version == subnet.version and network.overlaps(subnet):
                pods = _attached(other)
                first = f"detach the pods {', '.join(pods)} and " if pods else ""
                why = f"the bridge {other} has {address}, as kubeasz's 10-default.conf makes its mynet0"
                raise refuse(node, "subnets", subnet, f"{why}: {first}take it away with ip link delete {other}")


def _is_wrong(address: str, subnets: Sequence[str]) -> bool:
    """As the bridge plugin has it (ensureAddr): another IPv4 address, or an IPv6 one of the same range, where a gateway is to be."""
    found = ip_interface(address)
    wanted = [network for network in map(ip_network, subnets) if network.version == found.version]
    if not wanted or address in {f"{network.network_address + 1}/{network.prefixlen}" for network in wanted}:
        return False
    return found.version == IPV4 or any(found.network.overlaps(network) for network in wanted)


def _addresses() -> dict[str, list[str]]:
    """Those of each bridge, without link-local ones."""
    return {
        link["ifname"]: [f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global"]
        for link in _shown("address", "show", "type", "bridge")
    }


def _shown(*arguments: str) -> list[dict[str, Any]]:
    """What iproute2 lists; it leaves an empty object for each that it does not."""
    return [link for link in json.loads(_ip(["-json", *arguments]) or "[]") if link]


def _delete_address(bridge: str, address: str) -> None:
    _ip(["address", "delete", address, "dev", bridge])


def _ip(arguments: Sequence[str]) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, env=environment, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"ip {' '.join(arguments)}: {getattr(error, 'stderr', None) or error}".rstrip()) from error
    return done.stdout


def _pods() -> dict[str, str]:
    """The pods by the ports that they hang on, from what libcni keeps (cachedInfo)."""
    return {port: pod for path in glob(f"{RESULTS}/*") for port, pod in _ports(path)}


def _ports(path: str) -> Iterator[tuple[str, str]]:
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # what cannot be read names nobody
        with open(path, encoding="utf-8") as file:
            entry = json.load(file)
        names = dict(entry.get("cniArgs") or [])
        full = f"{names['K8S_POD_NAMESPACE']}/{names['K8S_POD_NAME']}" if "K8S_POD_NAME" in names else entry["containerId"]
        for interface in entry["result"]["interfaces"]:
            if not interface.get("sandbox"):
                yield interface["name"], full
