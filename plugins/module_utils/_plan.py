# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which pod subnet: a pure function of the ledger so far, the network and the hosts. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import chain
from operator import attrgetter, itemgetter, lt
from typing import Any, NamedTuple, TypeVar, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._blocks import (
    BITS,
    IPV6,
    Block,
    Pool,
    address_numbers,
    apart,
    block_of,
    block_text,
    blocks_of,
    count_free,
    is_usual,
    last_of,
    usual_blocks,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_mac
from ansible_collections.podnet.baremetal.plugins.module_utils._lines import COLONS, Line, line_of

Subnet = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
T = TypeVar("T")

STATES = ACTIVE, RETIRED = "active", "retired"
KEPT = "kept"
INVENTORY = "the inventory"
CLUSTER, SERVICE, PREFIX = "podnet_cluster_cidr", "podnet_service_cidr", "podnet_node_prefix"
RESERVED, PIN, UNDERLAY, MAC = "podnet_reserved", "podnet_pod_subnet", "podnet_underlay_address", "podnet_vtep_mac"
RENAMED = "podnet_renamed_from"
DEFAULT_PREFIX = {4: 24, 6: 64}
FLANNEL_FAMILY = {4: "", 6: "IPV6_"}  # subnet.go, WriteSubnetFile
FLANNEL_ENABLES = {4: True, 6: False}  # config.go, ParseConfig
NEARLY_FULL = 80  # percent
OPTIONAL = ("underlay6", "mac", "mac6")  # of a node in the ledger
SHOWN = 80
LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
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


class Host(NamedTuple):
    """One host as the inventory has it; at most one pin a family, `node_prefixes` as in `Network` and as many as are given.

    `underlay6` is the IPv6 address of a host that has an IPv4 one, too. `mac6` is for the second device, as in `Lease`.
    """

    name: str
    underlay: str
    pins: tuple[str, ...] = ()
    node_prefixes: tuple[int, ...] = ()
    mac: str | None = None
    renamed_from: str | None = None
    underlay6: str = ""
    mac6: str | None = None

    @classmethod
    def of(cls, name: Any, underlay: Any = None, subnet: Any = (), node_prefix: Any = (), mac: Any = None) -> Host:
        """Read what a user wrote. Without an underlay the name serves, if it is an address."""
        who = _host_name(INVENTORY, name)
        pins = _subnets(who, PIN, subnet)
        if len(_families(pins)) < len(pins):
            raise refuse(who, PIN, ", ".join(map(str, pins)), "a node has one pod subnet of each family")
        first, second = _underlays(who, underlay or (who if _is_address(who) else None))
        macs = _macs(who, mac)
        return cls(who, first, tuple(map(str, pins)), _prefixes(who, node_prefix), macs[0], underlay6=second, mac6=macs[1])

    def renamed(self, name: Any) -> Host:
        """The same host, whose lease is under this name until now."""
        return self._replace(renamed_from=_host_name(self.name, name, RENAMED))


@dataclass(frozen=True)
class Lease:
    """A node's line in the ledger.

    With `underlay6`, an IPv6 address beside the IPv4 one, a second device carries the IPv6 subnet; else one carries all. `mac` and `mac6`
    are theirs, None for the one that follows from the subnet.
    `why` tells how this plan came to it and is not stored: pinned, kept, new, reused.
    """

    name: str
    subnets: tuple[str, ...]
    underlay: str
    mac: str | None = None
    state: str = ACTIVE
    why: str = field(default=KEPT, compare=False)
    underlay6: str = ""
    mac6: str | None = None

    @property
    def vteps(self) -> tuple[Peer, ...]:
        """Its devices, the one that carries IPv4 first."""
        subnets = _by_family(self.subnets)
        if not self.underlay6:
            return (Peer(self.name, self.subnets, self.underlay, self.mac or vtep_mac(subnets.get(4) or subnets[6])),)
        first = Peer(self.name, (subnets[4],), self.underlay, self.mac or vtep_mac(subnets[4]))
        return first, Peer(self.name, (subnets[6],), self.underlay6, self.mac6 or vtep_mac(subnets[6]))

    @property
    def vtep_mac(self) -> str:
        return self.vteps[0].mac


class Leases(Sequence[Lease]):
    """Leases that are made of their lines when somebody looks at one. `whys` has what is not kept, by name."""

    def __init__(self, lines: Sequence[Line], whys: Mapping[str, str]) -> None:
        self.lines = lines
        self.whys = whys

    def __eq__(self, other: object) -> bool:
        return self.lines == other.lines if isinstance(other, Leases) else self._made == other

    def __hash__(self) -> int:
        return hash(self._made)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._made)

    @cached_property
    def _made(self) -> tuple[Lease, ...]:
        return tuple([replace(lease_on(line), why=self.whys.get(line.name, KEPT)) for line in self.lines])


@dataclass(frozen=True)
class Ledger:
    """All leases, sorted by name. `generation` grows by one with each change."""

    generation: int
    network: Network
    leases: Sequence[Lease]

    @cached_property
    def lines(self) -> Sequence[Line]:
        """The same as lines, for what looks at all of them."""
        return self.leases.lines if isinstance(self.leases, Leases) else [line_with(lease) for lease in self.leases]

    @cached_property
    def by_name(self) -> Mapping[str, Line]:
        return {line.name: line for line in self.lines}

    @cached_property
    def odd(self) -> list[Line]:
        """Those that have more than one IPv4 subnet at one IPv4 address, or something else."""
        return _odd(self.lines)

    @cached_property
    def whys(self) -> Mapping[str, str]:
        """How the plan came to the leases that it did not just keep, by their names."""
        return self.leases.whys if isinstance(self.leases, Leases) else {lease.name: lease.why for lease in self.leases}

    @cached_property
    def blocks(self) -> list[Block]:
        """The subnets of all leases, sorted."""
        return sorted(blocks_of(self.subnets))

    @cached_property
    def subnets(self) -> list[str]:
        return [subnet for line in self.lines for subnet in line.subnets]

    @cached_property
    def room(self) -> dict[int, tuple[int, int]]:
        """How many subnets of the common prefix length each family has, and how many of them are free."""
        network, prefixes = self.network, _prefix_by_family(self.network, ())
        clusters, held = blocks_of(network.cluster_cidrs), sorted([*self.blocks, *blocks_of(network.reserved)])
        return {
            family: (_split(network, family, prefix), count_free(clusters, held, family, prefix)) for family, prefix in prefixes.items()
        }

    def of_generation(self, generation: int) -> Ledger:
        after = replace(self, generation=generation)
        vars(after)["blocks"] = self.blocks
        return after

    def followed_by(self, network: Network, leases: Iterable[Lease]) -> Ledger:
        """The ledger with these leases added, or in the place of those of the same names."""
        known = self.by_name
        changed = {lease.name: line_with(lease) for lease in leases}
        lines = sorted({**known, **changed}.values())
        after = Ledger(self.generation, network, Leases(lines, {lease.name: lease.why for lease in leases}))
        left = set(blocks_of([subnet for name in changed.keys() & known for subnet in known[name].subnets]))
        taken = blocks_of([subnet for line in changed.values() for subnet in line.subnets])
        vars(after)["blocks"] = sorted([block for block in self.blocks if block not in left] + taken)
        vars(after)["odd"] = [line for line in self.odd if line.name not in changed] + _odd(changed.values())
        return after


def _odd(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.second or line.text.count(":") != COLONS]


@dataclass(frozen=True)
class Peer:
    """A device of another node, as a node sees it."""

    node: str
    subnets: tuple[str, ...]
    underlay: str
    mac: str


# --- the plan -------------------------------------------------------------------------------------------------------------


def plan(ledger: Ledger | None, network: Network, hosts: Iterable[Host], occupied: Iterable[str] = ()) -> Ledger:
    """Give every host its lease: what is taken never moves but by a pin, what is new gets the lowest free subnet, in order of names.

    A node that is not among the hosts is retired: it keeps its subnet and gets it back when it returns.
    What is `occupied` is not given to a new node.
    """
    ordered = sorted(hosts, key=attrgetter("name"))
    before = renamed(ledger or Ledger(0, network, ()), ordered)
    _check_names(ordered, before)
    _check_underlays(ordered, network)
    after = before.followed_by(network, _changed(before, network, ordered, occupied))
    _check_leases(INVENTORY, after)
    _check_families(after)
    return after if after == ledger else after.of_generation(before.generation + 1)


def and_the_others(ledger: Ledger | None, hosts: Iterable[Host], leaving: Iterable[str] = ()) -> list[Host]:
    """The hosts, and the active nodes that are not among them nor leave, as they are: for an inventory that has a part of the cluster."""
    listed = list(hosts)
    names = {*leaving, *(name for host in listed for name in (host.name, host.renamed_from))}
    active = [line for line in (ledger.lines if ledger else ()) if line.state == ACTIVE]
    return listed + [Host(line.name, line.underlay, underlay6=line.underlay6) for line in active if line.name not in names]


def release(ledger: Ledger, name: str) -> Ledger:
    """Give back the subnet of a retired node; a name that has none is no error."""
    kept = [line for line in ledger.lines if line.name != name]
    if len(kept) == len(ledger.lines):
        return ledger
    if any(line.name == name and line.state == ACTIVE for line in ledger.lines):
        raise refuse(_shown(name), "its lease", ACTIVE, "only a retired lease can be released: take the host out of the inventory first")
    return replace(ledger, generation=ledger.generation + 1, leases=Leases(kept, ledger.whys))


def all_peers(ledger: Ledger) -> tuple[Peer, ...]:
    """The devices of every active node as the others see them, sorted by name."""
    return tuple(vtep for lease in ledger.leases if lease.state == ACTIVE for vtep in lease.vteps)


def peers_of(ledger: Ledger, node: str) -> tuple[Peer, ...]:
    """The devices of every other active node, sorted by name."""
    peers = all_peers(ledger)
    others = tuple(peer for peer in peers if peer.node != node)
    if others == peers:
        names = {peer.node for peer in peers}
        raise refuse(_shown(node), "its lease", "missing", f"the ledger has {len(names)} active nodes, and this is none of them")
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
    after = Ledger(0, network, before.followed_by(network, _changed(before, network, hosts)).leases)  # which knows nothing of blocks yet
    _check_leases(who, after)
    wanted = {host.name for host in hosts}
    return {lease.name: lease.subnets for lease in after.leases if lease.name in wanted}


def capacity(ledger: Ledger) -> dict[str, int]:
    """How many nodes of the common prefix length fit in, by the family that has the least room; what is reserved counts as taken."""
    total, free = min(ledger.room.values(), key=itemgetter(1))
    return {"total": total, "taken": total - free, "free": free}


def warnings(ledger: Ledger) -> tuple[str, ...]:
    """What a plan should make somebody look at: families that are nearly full, and new nodes that may be old ones by another name."""
    prefixes = _prefix_by_family(ledger.network, ())
    return (
        *(
            f"{INVENTORY}: {CLUSTER} is {_cidrs(ledger.network, family)}: {total - free} of its {total} subnets of /{prefixes[family]} are "
            f"taken and {free} are free: {_make_room(family)}."
            for family, (total, free) in ledger.room.items()
            if 100 * (total - free) >= NEARLY_FULL * total
        ),
        *_namesakes(ledger),
    )


def _namesakes(ledger: Ledger) -> Iterator[str]:
    """Of new nodes at the underlay address of a retired one."""
    retired, whys = [line for line in ledger.lines if line.state == RETIRED], ledger.whys
    new = {line.underlay: line.name for line in ledger.lines if whys.get(line.name) == "new"} if retired else {}
    for old in retired:
        name = new.get(old.underlay)
        if name:
            yield (
                f"{name}: {UNDERLAY} is {old.underlay}: the retired {old.name} with {', '.join(old.subnets)} had the same, and "
                f"{name} got a lease of its own, as another node: if it is {old.name} by a new name, say {RENAMED}: {old.name}."
            )


def renamed(before: Ledger, hosts: Sequence[Host]) -> Ledger:
    """The ledger with the leases of renamed hosts under their new names."""
    told = [host for host in hosts if host.renamed_from]
    if not told:
        return before
    leases, names = {lease.name: lease for lease in before.leases}, {host.name for host in hosts}
    for host in told:
        _take_over(host, leases, names)
    return replace(before, leases=tuple(leases.values()))


def _take_over(host: Host, leases: dict[str, Lease], names: set[str]) -> None:
    """Move the lease of the host's old name, unless that was done before."""
    name = str(host.renamed_from)
    old, own = leases.get(name), leases.get(host.name)
    if own and not old:
        return
    if old is None:
        raise refuse(host.name, RENAMED, name, "the ledger has no lease of this name: give the name that the node has there, or none")
    if name in names:
        raise refuse(host.name, RENAMED, name, "a host of the inventory has this name: expected that of a node that is not in it any more")
    if own:
        why = f"{host.name} has a lease of its own, {', '.join(own.subnets)}: leave it out, or release that lease first (`state: absent`)"
        raise refuse(host.name, RENAMED, name, why)
    if old.underlay != host.underlay:
        why = f"it was at {old.underlay} and {host.name} is at {host.underlay}: expected a node at the same {UNDERLAY}"
        raise refuse(host.name, RENAMED, name, why)
    leases[host.name] = replace(leases.pop(name), name=host.name)


def _changed(before: Ledger, network: Network, hosts: Sequence[Host], occupied: Iterable[str] = ()) -> list[Lease]:
    """The leases of all but those of whom nothing is new, as of most hosts in most runs."""
    _check_pins(hosts, network)
    space = _Space(network, hosts, before, occupied)
    held = {**before.by_name}
    both = len(network.node_prefixes) > 1
    leases = []
    for host in hosts:
        line = held.pop(host.name, None)
        settled = line and (host.underlay, host.underlay6, ACTIVE, both) == (line.underlay, line.underlay6, line.state, line.second != "")
        if not settled or host.pins or host.mac or host.mac6:
            leases.append(_lease(host, lease_on(line) if line else None, network, space))
    return leases + [replace(lease_on(line), state=RETIRED) for line in held.values() if line.state == ACTIVE]


def _lease(host: Host, old: Lease | None, network: Network, space: _Space) -> Lease:
    """In each family the pin, else what the node has, else something new. Families that it has go first: its MAC hangs on the first."""
    pinned, leased = _by_family(host.pins), _by_family(old.subnets if old else ())
    wanted = _prefix_by_family(network, host.node_prefixes)
    subnets = tuple(
        pinned.get(family) or leased.get(family) or space.take(host.name, family, wanted[family]) for family in {**leased, **wanted}
    )
    why = "pinned" if pinned else "new" if old is None else "reused" if old.state == RETIRED else KEPT
    underlay, underlay6 = _used(host, subnets)
    lease = Lease(host.name, subnets, underlay, state=ACTIVE, why=why, underlay6=underlay6)
    macs = (host.mac or (old.mac if old else None), host.mac6 or (old.mac6 if old else None))
    if not any(macs):
        return lease  # as most are, and to make the MACs that follow from the subnets takes longer than all else
    mac, mac6 = ([mac if mac != vtep.mac else None for mac, vtep in zip(macs, lease.vteps)] + [None])[:2]
    return replace(lease, mac=mac, mac6=mac6)


def _used(host: Host, subnets: Sequence[str]) -> tuple[str, str]:
    """Which underlay addresses its devices send from: of each family the one that the pod subnets have, if there is a choice."""
    if not host.underlay6:
        return host.underlay, ""
    families = set(map(_family, subnets))
    if len(families) > 1:
        return host.underlay, host.underlay6
    return (host.underlay6, "") if IPV6 in families else (host.underlay, "")


class _Space:
    """What a plan has to give: the clusters without leases, pins and what is reserved. Lives as long as one plan."""

    def __init__(self, network: Network, hosts: Sequence[Host], before: Ledger, occupied: Iterable[str]) -> None:
        self._occupied = tuple(occupied)
        self._network = network
        self._hosts = hosts
        self._before = before
        self._given: list[str] = []

    def take(self, who: str, family: int, prefix: int) -> str:
        block = self._pool.take(family, prefix)
        if block is None:
            raise self._exhausted(who, family, prefix)
        self._given.append(block_text(block))
        return self._given[-1]

    @cached_property
    def _pins(self) -> list[str]:
        return [pin for host in self._hosts for pin in host.pins]

    @cached_property
    def _pool(self) -> Pool:
        """Made for the first host that needs something new: in most runs there is none."""
        # What a pin vacates in this run stays out of it, too: until the run is over, other nodes still route there.
        taken = [*self._before.blocks, *blocks_of(self._pins), *blocks_of(self._occupied)]
        shares = _prefix_by_family(self._network, ())
        asked = {host.node_prefixes for host in self._hosts if host.node_prefixes}
        lengths = {(block[0], block[2]) for block in taken}
        for family, prefix in chain(lengths, *(_prefix_by_family(self._network, prefixes).items() for prefixes in asked)):
            shares[family] = min(shares.get(family, prefix), prefix)
        return Pool(blocks_of(self._network.cluster_cidrs), sorted([*taken, *blocks_of(self._network.reserved)]), shares)

    def _exhausted(self, who: str, family: int, prefix: int) -> Refused:
        taken, reserved = (
            sum(_family(text) == family for text in texts)
            for texts in ({*self._before.subnets, *self._pins, *self._given}, self._network.reserved)
        )
        room = f"it has {_split(self._network, family, prefix)} subnets of /{prefix} and none is free"
        why = f"{room} ({taken} leases, {reserved} reserved ranges): {_make_room(family)}"
        return refuse(who, CLUSTER, _cidrs(self._network, family), why)


# --- what follows from a lease --------------------------------------------------------------------------------------------


def vtep_mac(subnet: str) -> str:
    """A locally administered unicast MAC: 02:f1 and 32 bits of the network address, for IPv4 all, for IPv6 the last before bit 64.

    An IPv6 subnet that is longer than /64 has the last of its prefix there, in which it differs from its neighbours.
    """
    return _mac(block_of(_subnet_text("vtep_mac", "the pod subnet", subnet)))


def _mac(block: Block) -> str:
    family, number, prefix = block
    if family == IPV6:
        number >>= BITS[IPV6] - max(prefix, 64)
    return f"02:f1:{(number & 0xFFFFFFFF).to_bytes(4, 'big').hex(':')}"


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


def range_of(network: Network, subnets: Any) -> Network:
    """The network with the ranges first that hold a node's subnets: flannel's net-conf.json has room for one of each family.

    flanneld refuses to start for a subnet that is not in it (kube.go, AcquireLease).
    """
    held = _subnets("net_conf", "the pod subnet", subnets)
    own = [cidr for cidr in network.cluster_cidrs if any(_inside(subnet, ipaddress.ip_network(cidr)) for subnet in held)]
    others = [cidr for cidr in network.cluster_cidrs if cidr not in own]
    prefixes = _prefix_by_family(network, ())
    ordered = (*own, *others)
    return replace(network, cluster_cidrs=ordered, node_prefixes=tuple(prefixes[family] for family in dict.fromkeys(map(_family, ordered))))


def net_conf(network: Network, vni: Any = 1, port: Any = 8472, backend: str = "vxlan", *, direct_routing: bool = False) -> dict[str, Any]:
    """flannel's net-conf.json: the keys that differ from what flannel takes for granted, and the backend's identity always in full."""
    who = "net_conf"
    prefixes = _prefix_by_family(network, ())
    conf: dict[str, Any] = {}
    for family, taken_for_granted in FLANNEL_ENABLES.items():
        if (family in prefixes) != taken_for_granted:
            conf[f"EnableIPv{family}"] = family in prefixes
    for family, cidr in sorted(_by_family(reversed(network.cluster_cidrs)).items()):  # the first range of each
        name = {4: "", 6: "IPv6"}[family]
        conf |= {f"{name}Network": cidr, f"{name}SubnetLen": prefixes[family]}
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
    more = {name: getattr(lease, name) for name in OPTIONAL if getattr(lease, name)}
    return {"subnets": list(lease.subnets), "underlay": lease.underlay, **more, "state": lease.state}


def ledger_of(document: Any, who: str = "the ledger") -> Ledger:
    """Read such a document, and believe nothing of it. `who` is the file that a refusal names."""
    top = _members(who, "the document", document, {"generation": int, "network": Mapping, "nodes": Mapping})
    lists = dict.fromkeys(("cluster_cidr", "service_cidr", "node_prefix", "reserved"), list)
    network = _members(who, "network", top["network"], lists)
    leases = tuple([_lease_of(f"{who}: {_host_name(who, name)}", name, node) for name, node in sorted(top["nodes"].items())])
    generation = _number(who, "generation", top["generation"], 1, (1 << 63) - 1)
    empty = Ledger(generation, Network.of(**network, who=who), ())
    return _at_a_glance(empty, leases) or _looked_at(who, replace(empty, leases=leases))


def _looked_at(who: str, ledger: Ledger) -> Ledger:
    """The ledger with its leases checked, each by itself and all beside each other."""
    valid = replace(ledger, leases=tuple([valid_lease(f"{who}: {lease.name}", lease) for lease in ledger.leases]))
    _check_leases(who, valid)
    return valid


def _at_a_glance(empty: Ledger, leases: tuple[Lease, ...]) -> Ledger | None:
    with suppress(TypeError, ValueError):
        ledger = ledger_with(empty, [line_with(lease) for lease in leases])
        return ledger if ledger and ledger.leases == leases else None
    return None


def ledger_with(empty: Ledger, lines: Sequence[Line]) -> Ledger | None:
    """The ledger with these lines, if each is as we write it and all go together: what most are, and cheap to see of all at once."""
    names = [line.name for line in lines]
    if not all(map(HOST_NAME.fullmatch, names)) or not _ascending(names) or not {line.state for line in lines} <= {*STATES}:
        return None
    ledger = replace(empty, leases=Leases(lines, {}))
    odd = ledger.odd
    try:
        address_numbers([*[line.underlay for line in lines], *[line.underlay6 for line in odd if line.underlay6]])
        blocks = usual_blocks([*[line.subnet for line in lines], *[line.second for line in odd if line.second]])
        # Where each value is valid by itself, only their families can be wrong together.
        for line in {line.families: line for line in odd}.values():
            valid_lease("", lease_on(line))
        if any(valid_mac("", MAC, mac) != mac for line in odd for mac in line.macs):
            return None
        vars(ledger)["blocks"] = sorted(blocks)
        _check_leases("", ledger)
    except (ValueError, Refused):
        return None
    return ledger


def valid_lease(who: str, lease: Lease) -> Lease:
    """The lease with its values in canonical form, if they are valid by themselves."""
    subnets = tuple([_subnet_text(who, "subnets", subnet) for subnet in lease.subnets])
    if not subnets or len(_by_family(subnets)) < len(subnets):
        raise refuse(who, "subnets", _shown(list(lease.subnets)), "a node has one pod subnet of each family")
    if lease.state not in STATES:
        raise refuse(who, "state", _shown(lease.state), f"expected {ACTIVE} or {RETIRED}")
    underlay = valid_address(who, "underlay", lease.underlay)
    underlay6 = valid_address(who, "underlay6", lease.underlay6) if lease.underlay6 else ""
    if underlay6 and (_family(underlay), _family(underlay6), len(subnets)) != (4, 6, 2):
        raise refuse(who, "underlay6", underlay6, "expected an IPv6 address beside an IPv4 one, and a pod subnet of each family")
    mac, mac6 = (valid_mac(who, what, mac) if mac is not None else None for what, mac in (("mac", lease.mac), ("mac6", lease.mac6)))
    valid = replace(lease, subnets=subnets, underlay=underlay, mac=mac, underlay6=underlay6, mac6=mac6)
    return lease if valid == lease else valid


def hosts_of(given: Iterable[Mapping[str, Any]]) -> list[Host]:
    """Read what a user wrote of many hosts. Most have a name and an IPv4 underlay and nothing else, which is cheap to see."""
    hosts = sorted(given, key=lambda host: str(host["name"]))
    names: list[Any] = [host["name"] for host in hosts]
    underlays: list[Any] = [host.get("underlay") for host in hosts]
    with suppress(ValueError, TypeError):
        rare = [host for host in hosts if host.get("subnet") or host.get("node_prefix") or host.get("mac") or host.get("renamed_from")]
        if not rare and all(map(HOST_NAME.fullmatch, names)):
            address_numbers(underlays)
            return list(map(Host, names, underlays))
    return [_host(**host) for host in hosts]


def _host(renamed_from: Any = None, **given: Any) -> Host:
    host = Host.of(**given)
    return host.renamed(renamed_from) if renamed_from else host


def lease_on(line: Line) -> Lease:
    return Lease(line.name, line.subnets, line.underlay, line.mac or None, line.state, underlay6=line.underlay6, mac6=line.mac6 or None)


def line_with(lease: Lease) -> Line:
    return line_of(lease.name, lease.subnets, (lease.underlay, lease.underlay6, lease.mac or "", lease.mac6 or "", lease.state))


def _lease_of(who: str, name: str, node: Any) -> Lease:
    members = _members(who, "the node", node, {"subnets": list, "underlay": str, "state": str}, dict.fromkeys(OPTIONAL, str))
    second = {"underlay6": members.get("underlay6", ""), "mac6": members.get("mac6")}
    return Lease(name, tuple(members["subnets"]), members["underlay"], members.get("mac"), members["state"], **second)


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
    names = [host.name for host in hosts]
    text = "".join([*names, *before.by_name])
    if _ascending(names) and text == text.lower():
        return
    spelt = {name.lower(): name for name in before.by_name}
    seen: set[str] = set()
    for host in hosts:
        lower = host.name.lower()
        other = spelt.setdefault(lower, host.name)
        if other != host.name or lower in seen:
            raise refuse(host.name, "the host's name", host.name, f"{other} is the same name to Kubernetes, which lower-cases it")
        seen.add(lower)


def _check_underlays(hosts: Sequence[Host], network: Network) -> None:
    addresses = [host.underlay for host in hosts if host.underlay] + [host.underlay6 for host in hosts if host.underlay6]
    if len({*addresses}) < len(addresses):
        raise _shared_underlay(hosts)
    cidrs = [(cidr, CLUSTER) for cidr in network.cluster_cidrs] + [(cidr, SERVICE) for cidr in network.service_cidrs]
    numbers = _numbers(addresses)
    for cidr, variable in cidrs:
        family, first, _prefix = block = block_of(cidr)
        last = last_of(block)
        for number in sorted(number for number in numbers[family] if first <= number <= last)[:1]:
            address = block_text((family, number, BITS[family])).partition("/")[0]
            why = f"it lies in {variable} {cidr}: nodes, pods and services need separate ranges"
            owner = next(host.name for host in hosts if address in (host.underlay, host.underlay6))
            raise refuse(owner, UNDERLAY, address, why)


def _shared_underlay(hosts: Iterable[Host]) -> Refused:
    addresses = [(address, host.name) for host in hosts for address in (host.underlay, host.underlay6) if address]
    owners = dict(reversed(addresses))
    address, name = next((address, name) for address, name in addresses if owners[address] != name)
    return refuse(name, UNDERLAY, address, f"{owners[address]} has the same: each node needs an address of its own")


def _numbers(addresses: Sequence[str]) -> dict[int, list[int]]:
    """The numbers of each family."""
    with suppress(ValueError):
        return address_numbers(addresses)
    valid = list(map(ipaddress.ip_address, addresses))
    return {family: [int(address) for address in valid if address.version == family] for family in BITS}


def _ascending(names: Sequence[str]) -> bool:
    """Whether each is there once, in order."""
    return all(map(lt, names, names[1:]))


def _check_pins(hosts: Iterable[Host], network: Network) -> None:
    clusters, reserved = _subnets(INVENTORY, CLUSTER, network.cluster_cidrs), _subnets(INVENTORY, RESERVED, network.reserved)
    for host in hosts:
        if not host.pins and not host.node_prefixes:
            continue
        if host.node_prefixes:
            _check_prefixes(host.name, host.node_prefixes, clusters)
        for pin in _subnets(host.name, PIN, host.pins):
            _check_pin(host, pin, network, clusters, reserved)


def _check_pin(host: Host, pin: Subnet, network: Network, clusters: Sequence[Subnet], reserved: Sequence[Subnet]) -> None:
    if not any(_inside(pin, cluster) for cluster in clusters):
        raise refuse(host.name, PIN, pin, f"it is outside of {CLUSTER} {', '.join(network.cluster_cidrs)}")
    prefix = _prefix_by_family(network, host.node_prefixes)[pin.version]
    if pin.prefixlen != prefix:
        raise refuse(host.name, PIN, pin, f"expected a /{prefix}, as {PREFIX} says")
    for held in reserved:
        if pin.overlaps(held):
            raise refuse(host.name, PIN, pin, f"{RESERVED} {held} is never handed out: pin another, or reserve less")


def _check_leases(who: str, ledger: Ledger) -> None:
    """What must hold of every ledger, read or planned: subnets inside the network and apart, VTEP MACs apart."""
    if not apart(blocks_of(ledger.network.cluster_cidrs), ledger.blocks):
        held = [(block_of(subnet), lease) for lease in ledger.leases for subnet in lease.subnets]
        _check_inside(who, ledger.network, held)
        _check_apart(who, held)
    _check_macs(ledger)


def _check_apart(who: str, held: Iterable[tuple[Block, Lease]]) -> None:
    both = _overlap(held)
    if both:
        (first, one), (second, other) = sorted(both, key=lambda item: (item[1].why != "pinned", item[1].name))
        subject = (one.name, PIN) if one.why == "pinned" else (who, f"the subnet of {one.name}")
        why = f"it overlaps {block_text(second)} of {_described(other)}: no two nodes can share an address"
        raise refuse(*subject, block_text(first), why)


def _check_inside(who: str, network: Network, held: Iterable[tuple[Block, Lease]]) -> None:
    clusters = [(*block_of(cidr), last_of(block_of(cidr))) for cidr in network.cluster_cidrs]
    for (family, first, prefix), lease in held:
        for version, start, length, last in clusters:
            if start <= first <= last and length <= prefix and family == version:
                break
        else:
            subnet = block_text((family, first, prefix))
            why = f"it leaves out {subnet} of {_described(lease)}: a range may grow, but not leave a node"
            raise refuse(who, CLUSTER, ", ".join(network.cluster_cidrs), why)


def _check_macs(ledger: Ledger) -> None:
    """The kernel takes two peers with one MAC, and all frames go to one of them. What follows from IPv4 subnets is as distinct as they."""
    macs = [mac for line in ledger.odd for mac in line.macs] + [_mac(block) for block in ledger.blocks if ledger.odd]
    if len({*macs}) == len(macs):
        return
    seen: dict[str, Lease] = {}
    for lease, mac in [(holder, vtep.mac) for holder in ledger.leases for vtep in holder.vteps]:
        other = seen.setdefault(mac, lease)
        if other is not lease:
            raise refuse(lease.name, MAC, mac, f"{_described(other)} has the same: each node needs a MAC of its own")


def _check_families(ledger: Ledger) -> None:
    """A device sends over one family of addresses (vxlan_fdb_parse() refuses the other), so what carries a subnet must do so everywhere."""
    active = [line for line in ledger.lines if line.state == ACTIVE] if ledger.odd else []
    kinds = [(":" in line.underlay, line.underlay6 != "") for line in active]
    for line, kind in zip(active, kinds):
        if kind != kinds[0]:
            theirs, own = (" and ".join(filter(None, (each.underlay, each.underlay6))) for each in (active[0], line))
            why = f"{active[0].name} has {theirs}: give each node an underlay address of the same families"
            raise refuse(line.name, UNDERLAY, own, why)


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
    if CLUSTER not in (variable for _span, variable in ranges):
        raise refuse(who, CLUSTER, "missing", "give the range that all pod subnets come from, such as 172.20.0.0/16")
    both = _overlap([(block_of(str(subnet)), (subnet, variable)) for subnet, variable in ranges])
    if both:
        (_later, (second, other)), (_earlier, (first, variable)) = both
        raise refuse(who, variable, first, f"it overlaps {other} {second}: nodes, pods and services need separate ranges")
    return ranges


def _subnets(who: str, what: str, value: Any) -> tuple[Subnet, ...]:
    return tuple(_subnet(who, what, item) for item in _items(value))


def _subnet_text(who: str, what: str, value: Any) -> str:
    return value if isinstance(value, str) and is_usual(value) else str(_subnet(who, what, value))


def _subnet(who: str, what: str, value: Any) -> Subnet:
    found = _network(value) if isinstance(value, str) else EXPECTED_NETWORK
    if isinstance(found, str):
        raise refuse(who, what, _shown(value), found)
    return found


@lru_cache(maxsize=1 << 10)  # every host asks for the same ranges
def _network(text: str) -> Subnet | str:
    """The network, or what is wrong with it. ipaddress refuses leading zeros and blanks; netmasks and zones are refused here."""
    _address, slash, length = text.partition("/")
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


def _underlays(who: str, value: Any) -> tuple[str, str]:
    """The address, and the IPv6 one where there is one of each family."""
    addresses = sorted((valid_address(who, UNDERLAY, str(item)) for item in _items(value)), key=_family)
    if not addresses:
        raise refuse(who, UNDERLAY, "missing", "give the address by which the other nodes reach it, here or as ansible_host")
    if len(set(map(_family, addresses))) < len(addresses):
        raise refuse(who, UNDERLAY, _shown(", ".join(addresses)), "expected one address, or a list of one IPv4 and one IPv6 address")
    return addresses[0], addresses[1] if len(addresses) > 1 else ""


def _macs(who: str, value: Any) -> tuple[str | None, str | None]:
    macs = [valid_mac(who, MAC, str(item)) for item in _items(value) if item]
    if len(macs) > len(BITS):
        raise refuse(who, MAC, _shown(", ".join(macs)), "expected one MAC, or a list of one for the IPv4 and one for the IPv6 device")
    return macs[0] if macs else None, macs[1] if len(macs) > 1 else None


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _host_name(who: str, name: Any, what: str = "a host's name") -> str:
    if not isinstance(name, str) or not HOST_NAME.fullmatch(name):
        expected = "expected an RFC 1123 name: letters, digits and hyphens in labels of at most 63, joined by dots, at most 253 in all"
        raise refuse(who, what, _shown(name), expected)
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


def _cidrs(network: Network, family: int) -> str:
    return ", ".join(cidr for cidr in network.cluster_cidrs if _family(cidr) == family)


def _make_room(family: int) -> str:
    """What to do where a family is full, or soon will be."""
    return (
        f"add a range (or widen one: {CLUSTER} may list several IPv{family} ranges), give new nodes a longer {PREFIX}, "
        "or release a retired lease with state: absent"
    )


def _split(network: Network, family: int, prefix: int) -> int:
    """How many subnets of that length the cluster CIDRs of a family have."""
    lengths = [int(cidr.partition("/")[2]) for cidr in network.cluster_cidrs if _family(cidr) == family]
    return sum(1 << prefix - length for length in lengths if length <= prefix)


def _overlap(owned: Iterable[tuple[Block, T]]) -> tuple[tuple[Block, T], tuple[Block, T]] | None:
    """The first two that share an address. CIDR ranges are apart or nested, so in order an inner one follows one that holds it."""
    ordered = sorted(owned, key=itemgetter(0))
    for one, other in zip(ordered, ordered[1:]):
        family, first, prefix = one[0]
        if other[0][0] == family and other[0][1] < first + (1 << BITS[family] - prefix):
            return one, other
    return None
