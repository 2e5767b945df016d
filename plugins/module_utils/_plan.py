# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which pod subnet: a pure function of the ledger so far, the network and the hosts. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, TypeVar, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_mac

try:
    from netaddr import IPSet
except ImportError:
    HAS_NETADDR = False
else:
    HAS_NETADDR = True

Subnet = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
T = TypeVar("T")

ACTIVE, RETIRED = "active", "retired"
INVENTORY = "the inventory"
CLUSTER, SERVICE, PREFIX = "podnet_cluster_cidr", "podnet_service_cidr", "podnet_node_prefix"
RESERVED, PIN, UNDERLAY, MAC = "podnet_reserved", "podnet_pod_subnet", "podnet_underlay_address", "podnet_vtep_mac"
BITS = {4: 32, 6: 128}
DEFAULT_PREFIX = {4: 24, 6: 64}
FLANNEL_FAMILY = {4: "", 6: "IPV6_"}  # subnet.go, WriteSubnetFile
FLANNEL_ENABLES = {4: True, 6: False}  # config.go, ParseConfig
SHOWN = 80
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*", re.ASCII | re.IGNORECASE)
NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
JSON_WORD: dict[type[Any], str] = {int: "a number", str: "a text", list: "a list", Mapping: "an object"}
EXPECTED_NETWORK = "expected a network such as 172.20.0.0/16 or fd00:10:244::/48"


# --- values ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """What all nodes share. `node_prefixes` has one length a family, in the order in which `cluster_cidrs` names the families."""

    cluster_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...] = ()
    node_prefixes: tuple[int, ...] = ()
    reserved: tuple[str, ...] = ()

    @classmethod
    def of(cls, cluster_cidr: Any, service_cidr: Any = (), node_prefix: Any = (), reserved: Any = (), who: str = INVENTORY) -> Network:
        """Read what a user wrote: one value or a list of them, each."""
        ranges = _ranges(who, cluster_cidr, service_cidr)
        clusters = [subnet for subnet, variable in ranges if variable == CLUSTER]
        families = _families(clusters)
        given = _prefixes(who, node_prefix)
        network = cls(
            tuple(map(str, clusters)),
            tuple(str(subnet) for subnet, variable in ranges if variable == SERVICE),
            given + tuple(DEFAULT_PREFIX[family] for family in families[len(given) :]),
            tuple(map(str, _subnets(who, RESERVED, reserved))),
        )
        _check_prefixes(who, network.node_prefixes, clusters)
        return network


@dataclass(frozen=True)
class Host:
    """One host as the inventory has it; at most one pin a family, `node_prefixes` as in `Network` and as many as are given."""

    name: str
    underlay: str
    pins: tuple[str, ...] = ()
    node_prefixes: tuple[int, ...] = ()
    mac: str | None = None

    @classmethod
    def of(cls, name: Any, underlay: Any = None, subnet: Any = (), node_prefix: Any = (), mac: Any = None) -> Host:
        """Read what a user wrote. Without an underlay the name serves, if it is an address."""
        who = _host_name(INVENTORY, name)
        pins = _subnets(who, PIN, subnet)
        if len(_families(pins)) < len(pins):
            raise refuse(who, PIN, ", ".join(map(str, pins)), "a node has one pod subnet of each family")
        return cls(
            who,
            _underlay(who, underlay or (who if _is_address(who) else None)),
            tuple(map(str, pins)),
            _prefixes(who, node_prefix),
            valid_mac(who, MAC, str(mac)) if mac else None,
        )


@dataclass(frozen=True)
class Lease:
    """A node's line in the ledger. `mac` is None when it is the one that follows from the first subnet.

    `why` tells how this plan came to it and is not stored: pinned, kept, new, reused.
    """

    name: str
    subnets: tuple[str, ...]
    underlay: str
    mac: str | None = None
    state: str = ACTIVE
    why: str = field(default="kept", compare=False)

    @property
    def vtep_mac(self) -> str:
        return self.mac or vtep_mac(self.subnets[0])


@dataclass(frozen=True)
class Ledger:
    """All leases, sorted by name. `generation` grows by one with each change."""

    generation: int
    network: Network
    leases: tuple[Lease, ...]


@dataclass(frozen=True)
class Peer:
    """Another node as a node sees it."""

    node: str
    subnets: tuple[str, ...]
    underlay: str
    mac: str


# --- the plan -------------------------------------------------------------------------------------------------------------


def plan(ledger: Ledger | None, network: Network, hosts: Iterable[Host]) -> Ledger:
    """Give every host its lease: what is taken never moves but by a pin, what is new gets the lowest free subnet, in order of names.

    A node that is not among the hosts is retired: it keeps its subnet and gets it back when it returns.
    """
    ordered = sorted(hosts, key=lambda host: host.name)
    before = ledger or Ledger(0, network, ())
    _check_names(ordered, before)
    _check_underlays(ordered, network)
    after = Ledger(before.generation, network, _assign(before, network, ordered))
    _check_leases(INVENTORY, after)
    return after if after == ledger else replace(after, generation=before.generation + 1)


def release(ledger: Ledger, name: str) -> Ledger:
    """Give back the subnet of a retired node; a name that has none is no error."""
    kept = tuple(lease for lease in ledger.leases if lease.name != name)
    if len(kept) == len(ledger.leases):
        return ledger
    if any(lease.name == name and lease.state == ACTIVE for lease in ledger.leases):
        raise refuse(_shown(name), "its lease", ACTIVE, "only a retired lease can be released: take the host out of the inventory first")
    return replace(ledger, generation=ledger.generation + 1, leases=kept)


def all_peers(ledger: Ledger) -> tuple[Peer, ...]:
    """Every active node as the others see it, sorted by name."""
    active = [lease for lease in ledger.leases if lease.state == ACTIVE]
    return tuple(Peer(lease.name, lease.subnets, lease.underlay, lease.vtep_mac) for lease in active)


def peers_of(ledger: Ledger, node: str) -> tuple[Peer, ...]:
    """Every other active node, sorted by name."""
    peers = all_peers(ledger)
    others = tuple(peer for peer in peers if peer.node != node)
    if others == peers:
        raise refuse(_shown(node), "its lease", "missing", f"the ledger has {len(peers)} active nodes, and this is none of them")
    return others


def pod_subnets(names: Iterable[str], cluster_cidr: Any, taken: Mapping[str, Any], node_prefix: Any) -> dict[str, tuple[str, ...]]:
    """Only the arithmetic of `plan`: the subnets of each name, beside those already taken."""
    who = "pod_subnets"
    network = Network.of(cluster_cidr, node_prefix=node_prefix, who=who)
    held = {_host_name(who, name): _subnets(who, _shown(name), subnet) for name, subnet in taken.items()}
    leases = tuple(Lease(name, tuple(map(str, subnets)), "") for name, subnets in sorted(held.items()) if subnets)
    before = Ledger(0, network, leases)
    hosts = [Host(_host_name(who, name), "") for name in sorted(names)]
    _check_names(hosts, before)
    after = Ledger(0, network, _assign(before, network, hosts))
    _check_leases(who, after)
    wanted = {host.name for host in hosts}
    return {lease.name: lease.subnets for lease in after.leases if lease.name in wanted}


def capacity(ledger: Ledger) -> dict[str, int]:
    """How many nodes of the common prefix length fit in, by the family that has the least room; what is reserved counts as taken."""
    pool = _Pool(ledger.network, [subnet for lease in ledger.leases for subnet in lease.subnets])
    prefixes = _prefix_by_family(ledger.network, ())
    free, family = min((pool.free(family, prefix), family) for family, prefix in prefixes.items())
    total = _split(ledger.network, family, prefixes[family])
    return {"total": total, "taken": total - free, "free": free}


def _assign(before: Ledger, network: Network, hosts: Sequence[Host]) -> tuple[Lease, ...]:
    for host in hosts:
        _check_pins(host, network)
    held = {lease.name: lease for lease in before.leases}
    # What a pin vacates in this run stays out of it, too: until the run is over, other nodes still route there.
    pool = _Pool(network, [*(pin for host in hosts for pin in host.pins), *(s for lease in before.leases for s in lease.subnets)])
    leases = [_lease(host, held.pop(host.name, None), network, pool) for host in hosts]
    leases += [replace(lease, state=RETIRED, why="kept") for lease in held.values()]
    return tuple(sorted(leases, key=lambda lease: lease.name))


def _lease(host: Host, old: Lease | None, network: Network, pool: _Pool) -> Lease:
    """In each family the pin, else what the node has, else something new. Families that it has go first: its MAC hangs on the first."""
    pinned, leased = _by_family(host.pins), _by_family(old.subnets if old else ())
    wanted = _prefix_by_family(network, host.node_prefixes)
    subnets = tuple(
        pinned.get(family) or leased.get(family) or pool.take(host.name, family, wanted[family]) for family in {**leased, **wanted}
    )
    mac = host.mac or (old.mac if old else None)
    why = "pinned" if pinned else "new" if old is None else "reused" if old.state == RETIRED else "kept"
    return Lease(host.name, subnets, host.underlay, mac if mac and mac != vtep_mac(subnets[0]) else None, ACTIVE, why)


class _Pool:
    """The free part of a network as aligned blocks, the starts of each length in a heap. Lives as long as one plan."""

    def __init__(self, network: Network, taken: Sequence[str]) -> None:
        if not HAS_NETADDR:
            raise Refused("the controller: the Python package netaddr is missing: install netaddr (python3-netaddr) for Ansible's Python.")
        self._network = network
        self._taken = set(taken)
        self._starts: dict[tuple[int, int], list[int]] = {}
        for block in (IPSet(network.cluster_cidrs) - IPSet([*taken, *network.reserved])).iter_cidrs():
            self._starts.setdefault((block.version, block.prefixlen), []).append(block.first)

    def take(self, who: str, family: int, prefix: int) -> str:
        """The lowest free subnet of that length; what is left of the block that it came from stays free."""
        lengths = [length for length in range(prefix + 1) if self._starts.get((family, length))]
        if not lengths:
            raise self._exhausted(who, family, prefix)
        length = min(lengths, key=lambda length: self._starts[family, length][0])
        start = heappop(self._starts[family, length])
        for longer in range(length + 1, prefix + 1):
            heappush(self._starts.setdefault((family, longer), []), start + (1 << BITS[family] - longer))
        subnet = str(ipaddress.ip_network((start, prefix)))
        self._taken.add(subnet)
        return subnet

    def free(self, family: int, prefix: int) -> int:
        return sum(
            len(starts) << prefix - length for (version, length), starts in self._starts.items() if version == family and length <= prefix
        )

    def _exhausted(self, who: str, family: int, prefix: int) -> Refused:
        cidrs, leases, reserved = (
            [text for text in texts if _family(text) == family]
            for texts in (self._network.cluster_cidrs, self._taken, self._network.reserved)
        )
        room = f"it has {_split(self._network, family, prefix)} subnets of /{prefix} and none is free"
        held = f"{len(leases)} leases, {len(reserved)} reserved ranges"
        return refuse(who, CLUSTER, ", ".join(cidrs), f"{room} ({held}): widen it, or release a retired lease with state: absent")


# --- what follows from a lease --------------------------------------------------------------------------------------------


def vtep_mac(subnet: str) -> str:
    """A locally administered unicast MAC: 02:f1 and 32 bits of the network address, the last ones of IPv4, bits 32 to 63 of IPv6."""
    number = int(_subnet("vtep_mac", "the pod subnet", subnet).network_address)
    return f"02:f1:{((number >> 64 or number) & 0xFFFFFFFF).to_bytes(4, 'big').hex(':')}"


def vtep_address(subnet: str) -> str:
    """The network address: what flannel.1 carries, as /32 or /128."""
    return str(_subnet("vtep_address", "the pod subnet", subnet).network_address)


def pod_gateway(subnet: str) -> str:
    """The first address after the network's own: what cni0 carries."""
    return str(_subnet("pod_gateway", "the pod subnet", subnet).network_address + 1)


def subnet_env(subnets: Any, cluster_cidr: Any, mtu: Any, *, masquerade: bool) -> str:
    """The text of flannel's subnet.env."""
    who = "subnet_env"
    clusters = _subnets(who, CLUSTER, cluster_cidr)
    lines = []
    for subnet in sorted(_subnets(who, "the pod subnet", subnets), key=lambda subnet: subnet.version):
        if not any(_inside(subnet, cluster) for cluster in clusters):
            raise refuse(who, CLUSTER, ", ".join(map(str, clusters)), f"the pod subnet {subnet} is outside of it")
        name = f"FLANNEL_{FLANNEL_FAMILY[subnet.version]}"
        family = ",".join(str(cluster) for cluster in clusters if cluster.version == subnet.version)
        lines += [f"{name}NETWORK={family}", f"{name}SUBNET={subnet.network_address + 1}/{subnet.prefixlen}"]
    lines += [f"FLANNEL_MTU={_number(who, 'the MTU', mtu, 68, 65535)}", f"FLANNEL_IPMASQ={str(bool(masquerade)).lower()}"]
    return "".join(f"{line}\n" for line in lines)


def net_conf(network: Network, vni: Any = 1, port: Any = 8472, backend: str = "vxlan", *, direct_routing: bool = False) -> dict[str, Any]:
    """flannel's net-conf.json: the keys that differ from what flannel takes for granted, and the backend's identity always in full."""
    who = "net_conf"
    prefixes = _prefix_by_family(network, ())
    if len(prefixes) < len(network.cluster_cidrs):
        raise refuse(who, CLUSTER, ", ".join(network.cluster_cidrs), "flannel's net-conf.json has room for one range of each family")
    conf: dict[str, Any] = {}
    for family, taken_for_granted in FLANNEL_ENABLES.items():
        if (family in prefixes) != taken_for_granted:
            conf[f"EnableIPv{family}"] = family in prefixes
    for cidr in sorted(network.cluster_cidrs, key=_family):
        name = {4: "", 6: "IPv6"}[_family(cidr)]
        conf |= {f"{name}Network": cidr, f"{name}SubnetLen": prefixes[_family(cidr)]}
    return {**conf, "Backend": _backend(who, vni, port, backend, direct_routing=direct_routing)}


def _backend(who: str, vni: Any, port: Any, backend: str, *, direct_routing: bool) -> dict[str, Any]:
    if backend == "host-gw":
        return {"Type": backend}
    if backend != "vxlan":
        raise refuse(who, "podnet_backend", _shown(backend), "expected vxlan or host-gw")
    numbers = {"VNI": _number(who, "podnet_vni", vni, 1, (1 << 24) - 1), "Port": _number(who, "podnet_port", port, 1, 65535)}
    return {"Type": backend, **numbers, **({"DirectRouting": True} if direct_routing else {})}


# --- the ledger as a document ---------------------------------------------------------------------------------------------


def document_of(ledger: Ledger) -> dict[str, Any]:
    """The ledger as plain mappings and lists: what the file holds and what the filters take."""
    return {
        "generation": ledger.generation,
        "network": {
            "cluster_cidr": list(ledger.network.cluster_cidrs),
            "service_cidr": list(ledger.network.service_cidrs),
            "node_prefix": list(ledger.network.node_prefixes),
            "reserved": list(ledger.network.reserved),
        },
        "nodes": {lease.name: node_of(lease) for lease in ledger.leases},
    }


def node_of(lease: Lease) -> dict[str, Any]:
    """A lease as the document has it, under its name."""
    mac = {"mac": lease.mac} if lease.mac else {}
    return {"subnets": list(lease.subnets), "underlay": lease.underlay, **mac, "state": lease.state}


def ledger_of(document: Any, who: str = "the ledger") -> Ledger:
    """Read such a document, and believe nothing of it. `who` is the file that a refusal names."""
    top = _members(who, "the document", document, {"generation": int, "network": Mapping, "nodes": Mapping})
    lists = dict.fromkeys(("cluster_cidr", "service_cidr", "node_prefix", "reserved"), list)
    network = _members(who, "network", top["network"], lists)
    ledger = Ledger(
        _number(who, "generation", top["generation"], 1, (1 << 63) - 1),
        Network.of(**network, who=who),
        tuple(_lease_of(f"{who}: {_host_name(who, name)}", name, node) for name, node in sorted(top["nodes"].items())),
    )
    _check_leases(who, ledger)
    return ledger


def _lease_of(who: str, name: str, node: Any) -> Lease:
    members = _members(who, "the node", node, {"subnets": list, "underlay": str, "state": str}, {"mac": str})
    subnets = _subnets(who, "subnets", members["subnets"])
    if not subnets or len(_families(subnets)) < len(subnets):
        raise refuse(who, "subnets", _shown(members["subnets"]), "a node has one pod subnet of each family")
    if members["state"] not in {ACTIVE, RETIRED}:
        raise refuse(who, "state", _shown(members["state"]), f"expected {ACTIVE} or {RETIRED}")
    underlay = valid_address(who, "underlay", members["underlay"])
    mac = valid_mac(who, "mac", members["mac"]) if "mac" in members else None
    return Lease(name, tuple(map(str, subnets)), underlay, mac, str(members["state"]))


def _members(
    who: str, what: str, value: Any, required: Mapping[str, type[Any]], optional: Mapping[str, type[Any]] | None = None
) -> Mapping[str, Any]:
    """The value, if it is a mapping of exactly these members."""
    types = {**required, **(optional or {})}
    if not isinstance(value, Mapping):
        raise refuse(who, what, _shown(value), f"expected an object with {', '.join(types)}")
    for name in [*required, *value]:
        if name not in types:
            raise refuse(who, what, f"an object with {_shown(name)}", f"expected only {', '.join(types)}")
        if name not in value:
            raise refuse(who, what, f"without {name}", f"expected {', '.join(required)}")
        if not isinstance(value[name], types[name]):
            raise refuse(who, name, _shown(value[name]), f"expected {JSON_WORD[types[name]]}")
    return value


# --- what is refused ------------------------------------------------------------------------------------------------------


def _check_names(hosts: Sequence[Host], before: Ledger) -> None:
    """Kubernetes lower-cases the names of nodes: names that differ only in case are one node."""
    spelt = {lease.name.lower(): lease.name for lease in before.leases}
    seen: set[str] = set()
    for host in hosts:
        lower = host.name.lower()
        other = spelt.setdefault(lower, host.name)
        if other != host.name or lower in seen:
            raise refuse(host.name, "the host's name", host.name, f"{other} is the same name to Kubernetes, which lower-cases it")
        seen.add(lower)


def _check_underlays(hosts: Sequence[Host], network: Network) -> None:
    ranges = _ranges(INVENTORY, network.cluster_cidrs, network.service_cidrs)
    seen: dict[str, str] = {}
    for host in hosts:
        other = seen.setdefault(host.underlay, host.name)
        if other != host.name:
            raise refuse(host.name, UNDERLAY, host.underlay, f"{other} has the same: each node needs an address of its own")
        address = ipaddress.ip_address(host.underlay)
        for subnet, variable in ranges:
            if address in subnet:
                raise refuse(host.name, UNDERLAY, address, f"it lies in {variable} {subnet}: nodes, pods and services need separate ranges")


def _check_pins(host: Host, network: Network) -> None:
    clusters = _subnets(host.name, CLUSTER, network.cluster_cidrs)
    if host.node_prefixes:
        _check_prefixes(host.name, host.node_prefixes, clusters)
    prefixes = _prefix_by_family(network, host.node_prefixes)
    for pin in _subnets(host.name, PIN, host.pins):
        if not any(_inside(pin, cluster) for cluster in clusters):
            raise refuse(host.name, PIN, pin, f"it is outside of {CLUSTER} {', '.join(network.cluster_cidrs)}")
        if pin.prefixlen != prefixes[pin.version]:
            raise refuse(host.name, PIN, pin, f"expected a /{prefixes[pin.version]}, as {PREFIX} says")
        for held in _subnets(host.name, RESERVED, network.reserved):
            if pin.overlaps(held):
                raise refuse(host.name, PIN, pin, f"{RESERVED} {held} is never handed out: pin another, or reserve less")


def _check_leases(who: str, ledger: Ledger) -> None:
    """What must hold of every ledger, read or planned: subnets inside the network and apart, VTEP MACs apart."""
    clusters = _subnets(who, CLUSTER, ledger.network.cluster_cidrs)
    held = [(_subnet(lease.name, "subnets", subnet), lease) for lease in ledger.leases for subnet in lease.subnets]
    for subnet, lease in held:
        if not any(_inside(subnet, cluster) for cluster in clusters):
            cidrs = ", ".join(ledger.network.cluster_cidrs)
            raise refuse(who, CLUSTER, cidrs, f"it leaves out {subnet} of {_described(lease)}: a range may grow, but not leave a node")
    both = _overlap(held)
    if both:
        (first, one), (second, other) = sorted(both, key=lambda item: (item[1].why != "pinned", item[1].name))
        subject = (one.name, PIN) if one.why == "pinned" else (who, f"the subnet of {one.name}")
        raise refuse(*subject, first, f"it overlaps {second} of {_described(other)}: no two nodes can share an address")
    _check_macs(ledger)


def _check_macs(ledger: Ledger) -> None:
    """The kernel takes two peers with one MAC, and all frames go to one of them."""
    seen: dict[str, Lease] = {}
    for lease in ledger.leases:
        other = seen.setdefault(lease.vtep_mac, lease)
        if other is not lease:
            raise refuse(lease.name, MAC, lease.vtep_mac, f"{_described(other)} has the same: each node needs a MAC of its own")


def _check_prefixes(who: str, prefixes: Sequence[int], clusters: Sequence[Subnet]) -> None:
    """A node needs a gateway and a pod at least; flannel, too, stops at /30 (config.go, CheckNetworkConfig)."""
    families = _families(clusters)
    if len(prefixes) > len(families):
        raise refuse(who, PREFIX, _shown(list(prefixes)), f"expected one for each family of {CLUSTER}: at most {len(families)}")
    for family, prefix in zip(families, prefixes):
        for cluster in clusters:
            longest = cluster.max_prefixlen - 2
            if cluster.version == family and not cluster.prefixlen < prefix <= longest:
                raise refuse(who, PREFIX, prefix, f"expected {cluster.prefixlen + 1} to {longest}, to split {CLUSTER} {cluster}")


# --- reading what was written ---------------------------------------------------------------------------------------------


def _ranges(who: str, cluster_cidr: Any, service_cidr: Any) -> list[tuple[Subnet, str]]:
    ranges = [
        (subnet, variable)
        for variable, value in ((CLUSTER, cluster_cidr), (SERVICE, service_cidr))
        for subnet in _subnets(who, variable, value)
    ]
    if CLUSTER not in (variable for _, variable in ranges):
        raise refuse(who, CLUSTER, "missing", "give the range that all pod subnets come from, such as 172.20.0.0/16")
    both = _overlap(ranges)
    if both:
        (first, variable), (second, other) = both[1], both[0]
        raise refuse(who, variable, first, f"it overlaps {other} {second}: nodes, pods and services need separate ranges")
    return ranges


def _subnets(who: str, what: str, value: Any) -> tuple[Subnet, ...]:
    return tuple(_subnet(who, what, item) for item in _items(value))


def _subnet(who: str, what: str, value: Any) -> Subnet:
    found = _network(value) if isinstance(value, str) else EXPECTED_NETWORK
    if isinstance(found, str):
        raise refuse(who, what, _shown(value), found)
    return found


@lru_cache(maxsize=1 << 18)  # a plan of 65,536 nodes reads each subnet several times
def _network(text: str) -> Subnet | str:
    """The network, or what is wrong with it. ipaddress refuses leading zeros and blanks; netmasks and zones are refused here."""
    _, slash, length = text.partition("/")
    try:
        interface = ipaddress.ip_interface(text) if slash and length.isdecimal() and "%" not in text else None
    except ValueError:
        interface = None
    if interface is None:
        return EXPECTED_NETWORK
    network, first = interface.network, interface.network.network_address
    if first.is_unspecified or first.is_loopback or first.is_multicast or getattr(first, "ipv4_mapped", None):
        return "expected a network of unicast addresses, IPv4 or IPv6, not the one in the form of the other"
    return network if interface.ip == first else f"it has bits set beyond its length: write {network}"


def _underlay(who: str, value: Any) -> str:
    if value in (None, ""):
        raise refuse(who, UNDERLAY, "missing", "give the address by which the other nodes reach it, here or as ansible_host")
    return valid_address(who, UNDERLAY, str(value))


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _host_name(who: str, name: Any) -> str:
    if not isinstance(name, str) or not HOST_NAME.fullmatch(name):
        expected = "expected an RFC 1123 name: letters, digits and hyphens in labels of at most 63, joined by dots, at most 253 in all"
        raise refuse(who, "a host's name", _shown(name), expected)
    return str(name)


def _prefixes(who: str, value: Any) -> tuple[int, ...]:
    return tuple(_number(who, PREFIX, item, 1, max(BITS.values())) for item in _items(value))


def _number(who: str, what: str, value: Any, least: int, most: int) -> int:
    """A number, or its decimal text, which is what templates give."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else -1
    if isinstance(value, str) and NUMBER.fullmatch(value):
        number = int(value)
    if not least <= number <= most:
        raise refuse(who, what, _shown(value), f"expected a number from {least} to {most}")
    return number


def _items(value: Any) -> tuple[Any, ...]:
    """One value, a list of them, or nothing."""
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _shown(value: object) -> str:
    """A rejected value on one line of a message."""
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _described(lease: Lease) -> str:
    return lease.name if lease.state == ACTIVE else f"{lease.name} (retired: `state: absent` with its name releases it)"


# --- arithmetic -----------------------------------------------------------------------------------------------------------


def _family(text: str) -> int:
    return 6 if ":" in text else 4


def _families(subnets: Iterable[Subnet]) -> list[int]:
    return list(dict.fromkeys(subnet.version for subnet in subnets))


def _by_family(subnets: Iterable[str]) -> dict[int, str]:
    return {_family(subnet): subnet for subnet in subnets}


def _prefix_by_family(network: Network, given: Sequence[int]) -> dict[int, int]:
    """The node prefix length of each family; a host may give some of its own."""
    return dict(zip(dict.fromkeys(map(_family, network.cluster_cidrs)), (*given, *network.node_prefixes[len(given) :])))


def _inside(inner: Subnet, outer: Subnet) -> bool:
    return inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _split(network: Network, family: int, prefix: int) -> int:
    """How many subnets of that length the cluster CIDRs of a family have."""
    lengths = [int(cidr.partition("/")[2]) for cidr in network.cluster_cidrs if _family(cidr) == family]
    return sum(1 << prefix - length for length in lengths if length <= prefix)


def _overlap(owned: Iterable[tuple[Subnet, T]]) -> tuple[tuple[Subnet, T], tuple[Subnet, T]] | None:
    """The first two that share an address. CIDR ranges are apart or nested, so in order an inner one follows one that holds it."""
    ordered = sorted(owned, key=lambda item: (item[0].version, int(item[0].network_address)))
    for one, other in zip(ordered, ordered[1:]):
        if one[0].overlaps(other[0]):
            return one, other
    return None
