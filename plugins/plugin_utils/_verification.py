# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document that a verification makes: what was read and measured of every node, and what is wrong. Pure.

It is written and read as JSON, so these are the types of JSON. Times are UTC in ISO 8601, addresses and networks are in their
canonical text, and a list of addresses or subnets has IPv4 first.
"""

from __future__ import annotations

from typing import Literal, Optional, TypedDict

VERSION = 1

Severity = Literal["error", "warning"]
Source = Literal["pod", "node"]
Target = Literal["pod", "node", "gateway", "service"]
State = Literal["verified", "unreachable", "failed"]


class Network(TypedDict):
    """What all nodes share, as the inventory has it. Without a ledger its path is "" and its generation 0."""

    cluster_cidrs: list[str]
    service_cidrs: list[str]
    vni: int
    port: int
    mtu: int
    ledger: str
    generation: int


class Sample(TypedDict):
    """Of how many ordered pairs of nodes how many were tested. `each`: how many others each node was tested to, 0 for all."""

    each: int
    run: int
    tested: int
    pairs: int


class Device(TypedDict):
    """A VTEP as overlay_info has it."""

    name: str
    vni: int
    port: int
    local: str
    interface: str
    mac: str
    mtu: int
    up: bool
    addresses: list[str]


class Peer(TypedDict):
    """Another node as this node's tables have it, "" for what they do not have."""

    subnets: list[str]
    underlay: str
    mac: str


class Drift(TypedDict):
    """The commands that would bring the node in line with the ledger, the subnets without a route, or why neither can be said."""

    commands: list[str]
    missing: list[str]
    refused: str


class Lease(TypedDict):
    """What the ledger has for the node. `macs`: one, or those of both devices."""

    subnets: list[str]
    underlays: list[str]
    macs: list[str]


class SubnetEnv(TypedDict):
    """What /run/flannel/subnet.env says."""

    networks: list[str]
    subnets: list[str]
    mtu: int
    masquerade: bool


class Bridge(TypedDict):
    """The bridge that pods hang on, with its addresses as 172.20.1.1/24."""

    name: str
    addresses: list[str]
    mtu: int


class Limit(TypedDict):
    """A table of the kernel that can be full."""

    name: str
    used: int
    limit: int


class UnderlayRoute(TypedDict):
    """How the node's kernel sends to a peer's underlay address: by which interface, and how much at once."""

    interface: str
    mtu: int


class Applied(TypedDict):
    """The generation of the ledger that the node was last brought to, and when."""

    generation: int
    at: str


class Pod(TypedDict):
    """The short-lived pod."""

    addresses: list[str]
    gateway: str
    mtu: int


class Tables(TypedDict):
    """What overlay_info returns of a node with `datapath: true`.

    `routes` are those to pods that do not lead through a VTEP, with their gateways, such as flannel's host-gw makes. `admitted`: the
    underlay addresses that the node's firewall lets in, null where it has none of ours.
    """

    underlay: list[str]
    interface: str
    subnets: list[str]
    device: Device | None
    device6: Device | None
    peers: list[Peer]
    drift: Drift | None
    lease: Lease | None
    subnet_env: SubnetEnv | None
    bridge: Bridge | None
    allocations: list[str]
    counters: dict[str, int]
    limits: list[Limit]
    settings: dict[str, int]
    filters: list[str]
    admitted: list[str] | None
    underlay_routes: dict[str, UnderlayRoute]
    routes: dict[str, str]
    applied: Applied | None


class Node(Tables):
    """A node of the document. One that could not be asked has a reason, and empty tables."""

    state: State
    reason: str
    pod: Pod | None


# One address tested from one end. `rtt`: milliseconds, the least, the median and the most. `fits`: whether a packet of exactly the MTU
# that may not be fragmented went through, `above`: whether one byte more did. `seen`: the source that the other end saw. `answered`: the
# node whose pod answered. `error`: the sender's own errno in words. "" and None: not known. `to` is "" for a service.
Path = TypedDict(
    "Path",
    {
        "from": str,
        "source": Source,
        "to": str,
        "target": Target,
        "address": str,
        "sent": int,
        "received": int,
        "rtt": Optional[list[float]],
        "fits": Optional[bool],
        "above": Optional[bool],
        "seen": str,
        "answered": str,
        "error": str,
    },
)


class Problem(TypedDict):
    """Something wrong: where it ends and why, and the command that repairs it. `paths`: how many failed paths it explains."""

    severity: Severity
    cause: str
    nodes: list[str]
    hop: str
    text: str
    repair: str
    paths: int


class Document(TypedDict):
    """All of it. `took`: seconds."""

    version: int
    made: str
    took: float
    network: Network
    sample: Sample
    nodes: dict[str, Node]
    paths: list[Path]
    problems: list[Problem]
