# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else of a node packets between pods depend on: bridge, leases of addresses, counters, limits, sysctls, firewalls. Reads them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from glob import glob
from ipaddress import ip_interface, ip_network
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._filters import filters
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import RECORD, recorded
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel
from ansible_collections.podnet.baremetal.plugins.module_utils._links import read_sysctl
from ansible_collections.podnet.baremetal.plugins.module_utils._netns import mtu_to
from ansible_collections.podnet.baremetal.plugins.module_utils._peer_sets import admitted
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import passing_neighbours, way_to

ALLOCATIONS = "/var/lib/cni/networks/*/*"  # of host-local, by network, beside its lock and the last one of each range
ADDRESS = re.compile(r"\d+(\.\d+){3}|[0-9a-f]*:[0-9a-f:.]+")
NET = "/proc/thread-self/net"  # /proc/net is that of the process's first thread
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
# Of /proc/net/snmp and netstat, by their groups, as nstat(8) calls them together.
COUNTED = {
    "Ip": ("InDiscards", "OutDiscards", "OutNoRoutes", "FragFails"),
    "Udp": ("InErrors", "RcvbufErrors", "InCsumErrors"),
    "TcpExt": ("IPReversePathFilter",),
}
# The columns of /proc/net/dev (dev_seq_printf_stats()).
COLUMNS = {"rx_packets": 1, "rx_errors": 2, "rx_dropped": 3, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11}
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.bridge.bridge-nf-call-iptables")
# linux/in.h, linux/in6.h


class Datapath(NamedTuple):
    """Of the node with these VTEPs and peers, as overlay_info has them."""

    node: str
    kernel: Kernel
    options: Mapping[str, Any]
    devices: Sequence[Mapping[str, Any]]
    peers: Sequence[Mapping[str, Any]]
    subnet_env: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        bridge = self._bridge()
        underlay = list(dict.fromkeys(device["local"] for device in self.devices if device["local"]))
        return {
            "underlay": underlay,
            "interface": next((device["interface"] for device in self.devices), ""),
            "subnets": self.subnet_env.get("subnets") or [str(ip_interface(each).network) for each in (bridge or {}).get("addresses", [])],
            "bridge": bridge,
            "allocations": _allocations(),
            "counters": dict([*_counters("snmp"), *_counters("netstat"), *_of_links(self._links())]),
            "limits": list(self._limits()),
            "settings": dict(_settings(self._links())),
            "filters": filters(_ruleset(), self.options["port"], dict(_legacy())),
            "admitted": admitted(),
            "underlay_routes": {peer["underlay"]: self._way(peer["underlay"]) for peer in self.peers if peer["underlay"]},
            "routes": dict(self._routes()),
            "applied": self._applied(),
        }

    def _links(self) -> list[str]:
        """What a packet passes: VTEPs, underlay interfaces, bridge."""
        names = [name for device in self.devices for name in (device["name"], device["interface"])]
        return [name for name in dict.fromkeys([*names, self.options["bridge"]]) if name]

    def _bridge(self) -> dict[str, Any] | None:
        name = self.options["bridge"]
        mtu = self.kernel.links.mtus().get(name)
        addresses = sorted((each.address for each in self.kernel.links.addresses(name)), key=lambda text: ":" in text) if mtu else []
        return {"name": name, "addresses": addresses, "mtu": mtu} if mtu else None

    def _limits(self) -> Iterator[dict[str, Any]]:
        for name, family, path in (("neighbours", socket.AF_INET, "ipv4"), ("IPv6 neighbours", socket.AF_INET6, "ipv6")):
            limit = _number(f"net.{path}.neigh.default.gc_thresh3")  # the machine's, so a container of its own network has none
            if limit:
                yield {"name": name, "used": passing_neighbours(self.kernel.tables.socket, family), "limit": limit}
        tracked, limit = _number("net.netfilter.nf_conntrack_count"), _number("net.netfilter.nf_conntrack_max")
        if limit:
            yield {"name": "conntrack", "used": tracked or 0, "limit": limit}

    def _way(self, underlay: str) -> dict[str, Any]:
        return {"interface": way_to(self.kernel.tables.socket, underlay), "mtu": mtu_to(underlay) or 0}

    def _routes(self) -> Iterator[tuple[str, str]]:
        networks = [ip_network(cidr) for cidr in self.options["cluster_cidrs"] or self.subnet_env.get("networks", [])]
        vteps = {device["name"] for device in self.devices}
        for route in self.kernel.tables.foreign_routes():
            subnet = ip_network(route.subnet)
            inside = any(subnet.version == each.version and subnet.network_address in each for each in networks)
            if route.gateway and route.device not in vteps and (inside or not networks):
                yield route.subnet, route.gateway

    def _applied(self) -> dict[str, Any] | None:
        known = recorded(self.node)
        if not known:
            return None
        at = datetime.fromtimestamp(os.stat(RECORD).st_mtime, timezone.utc)
        return {"generation": known.number, "at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _allocations() -> list[str]:
    return sorted({name for name in (path.rsplit("/", 1)[1] for path in glob(ALLOCATIONS)) if ADDRESS.fullmatch(name)})


def _counters(file: str) -> Iterator[tuple[str, int]]:
    """Each group is a line of names and a line of values."""
    lines = _lines(f"{NET}/{file}")
    for names, values in zip(lines[::2], lines[1::2]):
        group = names.split(":")[0]
        said = dict(zip(names.split(), values.split()))
        yield from ((f"{group}{name}", int(said[name])) for name in COUNTED.get(group, ()) if name in said)


def _of_links(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    for line in _lines(f"{NET}/dev")[2:]:
        name, _colon, columns = line.partition(":")
        if name.strip() in names:
            values = columns.split()
            yield from ((f"{name.strip()} {what}", int(values[column])) for what, column in COLUMNS.items())


def _settings(links: Sequence[str]) -> Iterator[tuple[str, int]]:
    filtering = [f"net.ipv4.conf.{link.replace('.', '/')}.rp_filter" for link in ("all", *links)]
    for name in (*FORWARDING, *filtering):
        value = _number(name)
        if value is not None:
            yield name, value


def _number(sysctl: str) -> int | None:
    found = read_sysctl("", sysctl)
    return int(found.value) if found else None


def _ruleset() -> str:
    """Of nftables, and so of an iptables that goes by nftables."""
    return _printed("nft", "--handle", "--terse", "list", "ruleset")


def _legacy() -> Iterator[tuple[str, str]]:
    """By family, of an iptables that does without nftables. Asked where it has tables: by itself iptables-legacy(8) would make them."""
    for family in ("ip", "ip6"):
        names = f"{NET}/{family}_tables_names"
        with suppress(OSError):  # root alone may read it, and there is none where the kernel has no such tables
            if _lines(names):
                yield family, _printed(f"{family}tables-legacy-save")


def _printed(*listing: str) -> str:
    """ "" where there is no such command, or it is refused."""
    with suppress(OSError):
        return subprocess.run(listing, env=ENVIRONMENT, capture_output=True, encoding="utf-8", errors="replace", check=False).stdout
    return ""


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii") as file:
        return file.read().splitlines()
