# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of an overlay on this node, and what a ledger would have otherwise, as a target that never changes. Reads the kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_interface, ip_network
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change
from ansible_collections.podnet.baremetal.plugins.module_utils._datapath import Datapath
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse, shown
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import recorded
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_device
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import Scope, VxlanDevice
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import peers_in
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import peers_target
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import vtep_target

FIELDS = ("name", "vni", "port", "local", "interface", "mac", "mtu", "up")
PEER_KINDS = frozenset((StaticNeigh, FdbEntry, PodRoute))
SETTING = re.compile(r"FLANNEL_(\w+)=(.*)")
# The name of a target for IPv6 pods beside that for IPv4 pods, as flannel has it: flannel.1, flannel-v6.1 (vxlan.go:205, :233).
FLANNELS, FLANNELS_IPV6 = "flannel.", "flannel-v6."


class Overlay(NamedTuple):
    """The overlay of this node, as the options of overlay_info ask for it."""

    node: str
    name: str
    options: Mapping[str, Any]
    kernel: Kernel

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def drift(self) -> Sequence[Change]:
        return ()

    def apply(self, changes: Sequence[Change]) -> None:
        raise AssertionError(f"{self.name} is only read, and was to be changed by {changes}")

    def facts(self) -> dict[str, Any]:
        names = [self.name, self.options["name6"] or f"{FLANNELS_IPV6}{self.options['vni']}"]
        devices = [self._device(name) for name in names]
        known = recorded(self.node)
        facts: dict[str, Any] = {"device": devices[0], "device6": devices[1], "subnet_env": self._subnet_env()}
        facts["generation"] = known.number if known else 0
        if self.options["brief"]:
            return facts
        peers = [peer for name in names for peer in self._peers(name)]
        unreachable = sorted(route.cidr for route in self.kernel.tables.unreachable_routes())
        facts = {**facts, "peers": peers, "unreachable_ranges": unreachable, "drift": self._drift()}
        if self.options["datapath"]:
            there = [device for device in devices if device]
            facts.update(Datapath(self.node, self.kernel, self.options, there, peers, facts["subnet_env"] or {}).facts())
        return facts

    def _device(self, name: str) -> dict[str, Any] | None:
        link = self.kernel.links.read(name)
        if not isinstance(link, VxlanDevice):
            return None
        addresses = sorted(each.address for each in self.kernel.links.addresses(name))
        return {**{field: getattr(link, field) for field in FIELDS}, "addresses": addresses}

    def _peers(self, name: str) -> list[dict[str, Any]]:
        return peers_in(name, self.kernel.tables.read(Scope(name, frozenset(), PEER_KINDS)))

    def _subnet_env(self) -> dict[str, Any] | None:
        path = self.options["subnet_env"]
        try:
            with open(path, encoding="utf-8") as file:
                return subnet_env_of(file.read(), f"{self.node}: {path}")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{self.node}: {path} cannot be read: {error}.") from error

    def _drift(self) -> dict[str, Any] | None:
        """What vxlan_device and vxlan_peers would do here. Their refusal is an answer, too."""
        if not self.options["plan"]:
            return None
        own = [mac for mac in (self.options["mac"], self.options["mac6"]) if mac]
        wanted = {
            **self.options,
            "node": self.node,
            "own": own,
            "state": "present",
            "purge": True,
            "beside_flanneld": True,
            "recreate": False,
            "learning": False,
            "ttl": 0,
        }
        try:
            devices = vtep_target(self.node, wanted)
            names = dict(zip(("device", "device6"), (part.name for part in devices.parts if part.name)))
            steps = [*devices.drift(), *peers_target({"device6": None, **wanted, **names}).drift()]
        except Refused as error:
            return {"commands": [], "missing": [], "refused": str(error)}
        missing = [step.new.subnet for step in steps if isinstance(step.new, PodRoute) and step.old is None]
        return {"commands": [step.command for step in steps], "missing": missing, "refused": ""}


def overlay(options: Mapping[str, Any]) -> Overlay:
    """The target of overlay_info."""
    node = node_name(options)
    return Overlay(node, valid_device(node, "name", options["name"] or f"{FLANNELS}{options['vni']}"), options, Kernel())


def subnet_env_of(text: str, who: str) -> dict[str, Any]:
    """What flannel's subnet.env says: the ranges of the cluster, this node's share of them, the MTU, and who masquerades."""
    said = {match[1]: match[2] for match in map(SETTING.fullmatch, text.splitlines()) if match}
    families = ("", "IPV6_")
    try:
        networks = [str(ip_network(cidr)) for family in families for cidr in said.get(f"{family}NETWORK", "").split(",") if cidr]
        subnets = [str(ip_interface(said[f"{family}SUBNET"]).network) for family in families if said.get(f"{family}SUBNET")]
        mtu = int(said.get("MTU", 0))
    except ValueError as error:
        raise refuse(who, "its content", "damaged", f"{shown(error)}; expected what flannel writes, or no such file") from error
    return {"networks": networks, "subnets": subnets, "mtu": mtu, "masquerade": said.get("IPMASQ") == "true"}
