# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an existing cluster says of its nodes, from every place that knows some of it, and the ledger that all of these agree on. No I/O."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils import _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse, shown
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_mac, valid_subnet
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import family_of
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import (
    ACTIVE,
    CLUSTER,
    INVENTORY,
    RETIRED,
    Host,
    Lease,
    Ledger,
    Network,
)

SUBNET, UNDERLAY, MAC = "pod subnet", "underlay address", "VTEP MAC"
ADOPTED = "adopted"  # why a lease is what it is
BACKEND, VNI, PORT = "backend", "VNI", "port"
LEDGER = "the ledger"
ANNOTATION = "flannel.alpha.coreos.com/"  # kube.go, newAnnotations with the default of --kube-annotation-prefix
# subnet.go, MakeSubnetKey: 10.244.3.0-24, dual stack 10.244.3.0-24&fd00:10:244:3a::-64
LEASE_KEY = re.compile(r"/subnets/([0-9.]+-[0-9]+)(?:&([0-9a-f:]+-[0-9]+))?")
IPV6 = 6
ENOUGH = 20  # names in one warning


class Fact(NamedTuple):
    """One thing that a source says of a node. `family` tells the two of a dual stack apart, and is 0 for what there is once."""

    what: str
    family: int
    value: str

    @property
    def about(self) -> str:
        return f"{self.what} (IPv6)" if self.family == IPV6 else self.what


@dataclass(frozen=True)
class Claim:
    """What one source says of one node. `node` is "" where the source knows no names, as flannel's keys in etcd."""

    source: str
    node: str
    facts: tuple[Fact, ...]

    def values(self, what: str) -> list[str]:
        return [fact.value for fact in self.facts if fact.what == what]


@dataclass(frozen=True)
class Cluster:
    """The cluster that is adopted: what the inventory says of it, and the claims of all other sources."""

    network: Network
    hosts: tuple[Host, ...]
    claims: tuple[Claim, ...]
    vni: int = 1
    port: int = 8472
    unreachable: tuple[str, ...] = ()
    generation: int = 0  # the highest that a node was changed by


LEAVING = (
    "the inventory does not have them: the ledger keeps their pod subnets as retired, and site.yml takes their entries away from the other "
    "nodes; add those that still run to the inventory first"
)
ARGUMENTS: dict[str, Any] = {
    "ledger": {"type": "path", "required": True},
    "cluster_cidr": {"type": "raw", "required": True},
    "service_cidr": {"type": "raw"},
    "node_prefix": {"type": "raw"},
    "reserved": {"type": "raw"},
    "vni": {"type": "int", "default": 1},
    "port": {"type": "int", "default": 8472},
    "nodes": {"type": "dict", "default": {}},
    "kubernetes": {"type": "path"},
    "etcd": {"type": "path"},
    "etcd_user": {"type": "str"},
    "etcd_password": {"type": "str", "no_log": True},
    "etcd_ca": {"type": "path"},
    "etcd_certificate": {"type": "path"},
    "etcd_key": {"type": "path"},
    "brief": {"type": "bool", "default": False},
}
Said = Mapping[Fact, Sequence[str]]  # the facts that were said of a node, and who said so


# --- sources --------------------------------------------------------------------------------------------------------------


def found_claims(host: str, found: Mapping[str, Any], network: Network) -> Iterator[Claim]:
    """What overlay_info found on a node: in flannel's subnet.env, and of its VXLAN devices."""
    said = found.get("subnet_env") or {"subnets": []}
    subnets = [Fact(SUBNET, family_of(subnet), subnet) for subnet in said["subnets"]]
    if subnets:
        yield Claim("subnet.env", host, tuple(subnets))
    lengths = {**_prefixes(network), **{fact.family: int(fact.value.split("/")[1]) for fact in subnets}}
    for family, device in ((4, found.get("device")), (IPV6, found.get("device6"))):
        if device:
            yield Claim(device["name"], host, tuple(_device_facts(device, family, lengths, network)))


def _device_facts(device: Mapping[str, Any], family: int, lengths: Mapping[int, int], network: Network) -> Iterator[Fact]:
    """Its address is the network address of the pod subnet (vxlan_network.go:47), whose length is told elsewhere."""
    yield Fact(MAC, family, device["mac"])
    if device["local"]:
        yield Fact(UNDERLAY, family_of(device["local"]), device["local"])
    yield Fact(VNI, 0, str(device["vni"]))
    yield Fact(PORT, 0, str(device["port"]))
    clusters = [ip_network(cidr) for cidr in network.cluster_cidrs]
    for address in device["addresses"]:
        alone = ip_network(address, strict=False)
        if alone.prefixlen == alone.max_prefixlen and any(alone.network_address in cluster for cluster in clusters):
            yield Fact(SUBNET, alone.version, f"{alone.network_address}/{lengths[alone.version]}")


def kubernetes_claims(text: str, source: str) -> list[Claim]:
    """What the Node objects say, as `kubectl get nodes -o json` prints them: pod subnets, and flannel's annotations."""
    document = _json(text, source)
    nodes = document.get("items", [document]) if isinstance(document, dict) else document
    try:
        claims = [Claim(source, str(node["metadata"]["name"]), tuple(_node_facts(source, node))) for node in nodes]
    except (AttributeError, KeyError, TypeError) as error:
        raise refuse(source, "its content", "no list of Nodes", "expected what `kubectl get nodes -o json` prints") from error
    return _some(claims, source, "no Node in it has a pod subnet: expected what `kubectl get nodes -o json` prints")


def _node_facts(source: str, node: Mapping[str, Any]) -> Iterator[Fact]:
    name, spec = node["metadata"]["name"], node.get("spec") or {}
    notes = {
        key[len(ANNOTATION) :]: value
        for key, value in (node["metadata"].get("annotations") or {}).items()
        if key.startswith(ANNOTATION) and value
    }
    subnets = spec.get("podCIDRs") or [spec[key] for key in ("podCIDR",) if spec.get(key)]
    data = [_json(notes.get(key, "null"), f"{source}: {name}: {key}") for key in ("backend-data", "backend-v6-data")]
    underlays = [notes.get("public-ip"), notes.get("public-ipv6")]
    yield from _lease_facts(f"{source}: {name}", subnets, underlays, notes.get("backend-type"), data)


def etcd_claims(text: str, source: str) -> list[Claim]:
    """What flannel's keys in etcd say, as `etcdctl get --prefix /coreos.com/network` prints them, with or without `-w json`.

    They know a node by its underlay address alone.
    """
    claims = []
    for key, value in _keys(text, source):
        match = LEASE_KEY.search(key)
        if match and match.end() == len(key):
            subnets = [part.replace("-", "/") for part in match.groups() if part]
            claims.append(Claim(source, "", tuple(_key_facts(f"{source}: {key}", subnets, _json(value, f"{source}: {key}")))))
    return _some(claims, source, "no lease of flannel is in it: expected what `etcdctl get --prefix /coreos.com/network` prints")


def _key_facts(who: str, subnets: Sequence[str], value: Any) -> Iterator[Fact]:
    if not isinstance(value, dict):
        raise refuse(who, "its value", value, "expected an object with PublicIP and BackendData")
    data = [value.get(key) for key in ("BackendData", "BackendV6Data")]
    yield from _lease_facts(who, subnets, [value.get("PublicIP"), value.get("PublicIPv6")], value.get("BackendType"), data)


def _keys(text: str, source: str) -> Iterable[tuple[str, str]]:
    if not text.lstrip().startswith("{"):
        lines = text.splitlines()
        return zip(lines, lines[1:])  # a key has its value on the next line; the value of /config may go on for more
    try:
        pairs = [(pair["key"], pair.get("value", "")) for pair in _json(text, source).get("kvs", [])]
        return [(b64decode(key, validate=True).decode(), b64decode(value, validate=True).decode()) for key, value in pairs]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refuse(source, "its content", "no answer of etcd", "expected what `etcdctl get --prefix -w json` prints") from error


def _lease_facts(who: str, subnets: Iterable[Any], underlays: Iterable[Any], backend: Any, data: Iterable[Any]) -> Iterator[Fact]:
    """What flannel publishes of a node, in a Node's annotations and in etcd alike (lease.go, LeaseAttrs)."""
    for subnet in (valid_subnet(who, SUBNET, str(each)) for each in subnets):
        yield Fact(SUBNET, family_of(subnet), subnet)
    for address in (valid_address(who, UNDERLAY, str(each)) for each in underlays if each):
        yield Fact(UNDERLAY, family_of(address), address)
    if backend:
        yield Fact(BACKEND, 0, shown(backend))
    for family, of_family in zip((4, IPV6), data):
        if isinstance(of_family, dict) and of_family.get("VtepMAC"):
            yield Fact(MAC, family, valid_mac(who, MAC, str(of_family["VtepMAC"])))
            yield Fact(VNI, 0, shown(of_family.get("VNI", 1)))


def _json(text: str, who: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(who, "its content", "no JSON", str(error)) from error


def _some(claims: list[Claim], source: str, otherwise: str) -> list[Claim]:
    if not any(claim.values(SUBNET) for claim in claims):
        raise Refused(f"{source}: {otherwise}.")
    return claims


# --- what they agree on ---------------------------------------------------------------------------------------------------


def adopted(ledger: Ledger | None, cluster: Cluster) -> Ledger:
    """The ledger with a lease for every node whose pod subnet some source knows. What a node has is kept as it is.

    Raises Refused, with all of it, where two sources disagree or the nodes do not go together.
    """
    known = _known(ledger, cluster)
    said = _said(known, cluster)
    lines = sorted({*_disagreements(said), *_impossible(said, cluster.network), *_shared(said)})
    if lines:
        listed = "\n".join(f"  {line}" for line in lines)
        raise Refused(f"{len(lines)} conflicts stand against adopting the cluster, and nothing was written:\n{listed}")
    before = known or Ledger(0, cluster.network, ())
    held, hosts = {lease.name for lease in before.leases}, {host.name for host in cluster.hosts}
    leases = [
        replace(_lease(name, facts, cluster.network), state=ACTIVE if name in hosts else RETIRED, why="kept" if name in held else ADOPTED)
        for name, facts in said.items()
        if _values(facts, SUBNET)
    ]
    after = Ledger(before.generation, cluster.network, tuple(sorted(leases, key=lambda lease: lease.name)))
    if after == ledger:
        return ledger
    grown = replace(after, generation=max(before.generation, cluster.generation) + 1)
    _plan.ledger_of(_plan.document_of(grown), LEDGER)  # what holds of every ledger is checked where one is read
    return grown


def warnings(ledger: Ledger | None, cluster: Cluster) -> list[str]:
    """What a person should know before site.yml runs."""
    said = _said(_known(ledger, cluster), cluster)
    hosts = {host.name for host in cluster.hosts}
    known = {name for name, facts in said.items() if _values(facts, SUBNET)}
    strange = {name for name in known - hosts if any(by != LEDGER for fact, who in said[name].items() for by in who if fact.what == SUBNET)}
    found = (
        (set(cluster.unreachable), "could not be reached, so only other sources speak for them"),
        (hosts - known, "no source knows their pod subnets: site.yml gives them free ones, so adopt again first where they have some"),
        (
            {name for name in known & hosts if not _values(said[name], MAC)},
            "no source knows the MACs of their VTEPs, so they get those that follow from their pod subnets",
        ),
        (strange, LEAVING),
    )
    return [f"{_listed(names)}: {sentence}." for names, sentence in found if names]


def _lease(name: str, facts: Said, network: Network) -> Lease:
    """Families in the order of the cluster's ranges. With an underlay address of each, each has a device and so a MAC of its own."""
    of_family = {fact.family: fact.value for fact in facts if fact.what == SUBNET}
    subnets = tuple(of_family[family] for family in _prefixes(network) if family in of_family)
    underlays = {fact.family: fact.value for fact in facts if fact.what == UNDERLAY}
    needed = [underlays[family] for family in sorted(of_family) if family in underlays] or list(underlays.values())
    first, second, *_rest = (*needed, "", "")
    derived = Lease(name, subnets, first, underlay6=second)
    macs = {fact.family: fact.value for fact in facts if fact.what == MAC}
    said = [macs.get(_family(vtep.subnets)) for vtep in derived.vteps]
    mac, mac6 = (*(mac if mac != vtep.mac else None for mac, vtep in zip(said, derived.vteps)), None)[:2]
    return replace(derived, mac=mac, mac6=mac6)


def _family(subnets: Iterable[str]) -> int:
    """Of a device that carries these: flannel.1 is the one for IPv4 and, where it is alone, for both."""
    return min(map(family_of, subnets))


def _known(ledger: Ledger | None, cluster: Cluster) -> Ledger | None:
    """The ledger with the leases that it has by the old names of renamed hosts under the new ones."""
    held = {lease.name for lease in ledger.leases} if ledger else set()
    hosts = [host if host.renamed_from in held else host._replace(renamed_from=None) for host in cluster.hosts]
    return ledger and _plan.renamed(ledger, hosts)


def _said(ledger: Ledger | None, cluster: Cluster) -> dict[str, Said]:
    """All facts by the name of the node. Who said them stands in the order of the alphabet, so that the order of sources means nothing."""
    leases = ledger.leases if ledger else ()
    told = [*_inventory_claims(cluster), *_named(cluster, leases), *map(_ledger_claim, leases)]
    facts: defaultdict[str, defaultdict[Fact, set[str]]] = defaultdict(lambda: defaultdict(set))
    for claim in told:
        for fact in claim.facts:
            facts[claim.node][fact].add(claim.source)
    settings = (Fact(BACKEND, 0, "vxlan"), Fact(VNI, 0, str(cluster.vni)), Fact(PORT, 0, str(cluster.port)))
    for of_node in facts.values():
        for fact in settings:
            of_node[fact].add(INVENTORY)
    return {name: {fact: sorted(who) for fact, who in sorted(of_node.items())} for name, of_node in facts.items()}


def _inventory_claims(cluster: Cluster) -> Iterator[Claim]:
    families = (_family(cluster.network.cluster_cidrs), IPV6)
    for host in cluster.hosts:
        pins = [Fact(SUBNET, family_of(pin), pin) for pin in host.pins]
        macs = [Fact(MAC, family, mac) for family, mac in zip(families, (host.mac, host.mac6)) if mac]
        underlays = [Fact(UNDERLAY, family_of(each), each) for each in (host.underlay, host.underlay6) if each]
        yield Claim(INVENTORY, host.name, (*pins, *underlays, *macs))


def _ledger_claim(lease: Lease) -> Claim:
    subnets = [Fact(SUBNET, family_of(subnet), subnet) for subnet in lease.subnets]
    underlays = [Fact(UNDERLAY, family_of(vtep.underlay), vtep.underlay) for vtep in lease.vteps]
    macs = [Fact(MAC, _family(vtep.subnets), vtep.mac) for vtep in lease.vteps]
    return Claim(LEDGER, lease.name, (*subnets, *underlays, *macs))


def _named(cluster: Cluster, leases: Iterable[Lease]) -> Iterator[Claim]:
    """The claims under the names of the inventory: by the name, which Kubernetes lower-cases, else by the underlay address.

    A node that the inventory does not have keeps the name that it has elsewhere; without any its address serves as one.
    """
    by_name = {host.name.lower(): host.name for host in cluster.hosts}
    by_underlay = {address: host.name for host in cluster.hosts for address in (host.underlay, host.underlay6) if address}
    elsewhere = {vtep.underlay: lease.name for lease in leases for vtep in lease.vteps}
    elsewhere |= {address: claim.node for claim in sorted(cluster.claims, key=_by_name) if claim.node for address in claim.values(UNDERLAY)}
    for claim in cluster.claims:
        addresses = claim.values(UNDERLAY)
        names = [by_name.get(claim.node.lower()), *map(by_underlay.get, addresses), claim.node, *map(elsewhere.get, addresses), *addresses]
        names += [subnet.replace("/", "-") for subnet in claim.values(SUBNET)]
        known = [name for name in names if name]
        if known:
            yield replace(claim, node=known[0])


def _by_name(claim: Claim) -> str:
    return claim.node


# --- what stands against it -----------------------------------------------------------------------------------------------


def _disagreements(said: Mapping[str, Said]) -> Iterator[str]:
    for name, facts in said.items():
        for about in sorted({fact[:2] for fact in facts}):
            values = [f"{fact.value} in {_and(who)}" for fact, who in facts.items() if fact[:2] == about]
            if len(values) > 1:
                yield f"{name}: {Fact(*about, '').about} is {', '.join(values)}"


def _impossible(said: Mapping[str, Said], network: Network) -> Iterator[str]:
    clusters = [ip_network(cidr) for cidr in network.cluster_cidrs]
    for name, facts in said.items():
        subnets = [(fact, ip_network(fact.value, strict=False), who) for fact, who in facts.items() if fact.what == SUBNET]
        for fact, subnet, who in subnets:
            if str(subnet) != fact.value:
                yield f"{name}: {fact.about} is {fact.value} in {_and(who)}: it has bits set beyond its length"
            elif not any(subnet.network_address in cluster and subnet.prefixlen >= cluster.prefixlen for cluster in clusters):
                yield f"{name}: {fact.about} is {fact.value} in {_and(who)}: it is outside of {CLUSTER} {', '.join(network.cluster_cidrs)}"
        if subnets and not _values(facts, UNDERLAY):
            yield f"{name}: no source knows its {UNDERLAY}: add the host to the inventory"
        if len(subnets) > 1:
            yield from _underlay_left_out(name, facts)


def _underlay_left_out(name: str, facts: Said) -> Iterator[str]:
    """What an inventory would take away from a node of dual stack that has a device over each family."""
    ours = {fact.family for fact, who in facts.items() if fact.what == UNDERLAY and INVENTORY in who}
    for fact, who in facts.items():
        if fact.what == UNDERLAY and ours and fact.family not in ours:
            yield f"{name}: {fact.about} is {fact.value} in {_and(who)}, none in the inventory: list both in podnet_underlay_address"


def _shared(said: Mapping[str, Said]) -> Iterator[str]:
    """What only one node can have, and two do. Ranges are apart or nested, so in order an inner one follows one that holds it."""
    owners: dict[tuple[str, str], list[tuple[str, Sequence[str]]]] = defaultdict(list)
    subnets = []
    for name, facts in said.items():
        for fact, who in facts.items():
            if fact.what in (UNDERLAY, MAC):
                owners[fact.what, fact.value].append((name, who))
            elif fact.what == SUBNET:
                subnets.append((ip_network(fact.value, strict=False), name, who))
    for (what, value), both in owners.items():
        if len({name for name, _who in both}) > 1:
            yield from (f"{name}: {what} is {value} in {_and(who)}: {_others(name, both)} has the same" for name, who in both)
    outer = None
    for subnet, name, who in sorted(subnets, key=lambda each: (each[0].version, int(each[0].network_address), each[0].prefixlen, each[1])):
        if outer and outer[0].overlaps(subnet) and outer[1] != name:
            yield f"{name}: {SUBNET} is {subnet} in {_and(who)}: it overlaps {outer[0]} of {outer[1]} in {_and(outer[2])}"
        if not outer or not outer[0].overlaps(subnet):
            outer = (subnet, name, who)


def _prefixes(network: Network) -> dict[int, int]:
    """The prefix length of a node's subnet by family, in the order of the cluster's ranges."""
    return dict(zip(dict.fromkeys(map(family_of, network.cluster_cidrs)), network.node_prefixes))


# --- words ----------------------------------------------------------------------------------------------------------------


def _values(facts: Said, what: str) -> list[str]:
    """IPv4 first, as the facts are sorted."""
    return [fact.value for fact in facts if fact.what == what]


def _others(name: str, both: Iterable[tuple[str, Sequence[str]]]) -> str:
    return _and(sorted({other for other, _who in both} - {name}))


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - ENOUGH} more" if len(ordered) > ENOUGH else ""
    return ", ".join(ordered[:ENOUGH]) + more
