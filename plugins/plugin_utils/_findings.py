# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong in the tables of nodes, each compared with the ledger, where there is one, and with those of every other node. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Device, Document, Node, Peer, Severity

# What of the paths between two nodes a finding explains.
REACH, UNDERLAY, PODS, SIZE, ANSWER = "reach", "underlay", "pods", "size", "answer"
SITE, PEERS = "podnet.baremetal.site", "podnet.baremetal.peers"
ENCAPSULATION = {4: 50, 6: 70}  # by the family of the underlay address: VXLAN, UDP, IP and Ethernet headers (flannel: vxlan_network.go)
NEARLY_FULL = 0.8
MANY, SOME = 0.01, 100  # of all packets of a link, and never less: what a node sends to all, as for IPv6, has no entry and is dropped
STRICT = 1  # of rp_filter (Documentation/networking/ip-sysctl.rst)


class Repair(NamedTuple):
    """A playbook of ours or a command, for these hosts; without hosts it is a sentence that says what to do."""

    command: str
    hosts: tuple[str, ...] = ()


class Finding(NamedTuple):
    """Something wrong at a node, with what concerns another node where it is `about` one."""

    cause: str
    at: str
    about: str
    hop: str
    text: str
    repair: Repair
    explains: frozenset[str] = frozenset()
    severity: Severity = "error"
    others: tuple[str, ...] = ()


class Mesh(NamedTuple):
    """The nodes that could be asked, and who has which pod subnet."""

    document: Document
    nodes: Mapping[str, Node]
    owners: Mapping[str, list[str]]

    @property
    def has_ledger(self) -> bool:
        return bool(self.document["network"]["ledger"])

    def repair(self, at: str, command: str, playbook: str = SITE) -> Repair:
        """The playbook where a ledger says what is right, else the command."""
        return Repair(playbook if self.has_ledger else command, (at,))


def mesh(document: Document) -> Mesh:
    nodes = {name: node for name, node in document["nodes"].items() if node["state"] == "verified"}
    owners: dict[str, list[str]] = defaultdict(list)
    for name, node in nodes.items():
        for subnet in node["subnets"]:
            owners[subnet].append(name)
    return Mesh(document, nodes, owners)


def findings(of: Mesh) -> Iterator[Finding]:
    """All of them. What is about a node comes before what is about its peers, of which it may be the reason."""
    yield from _unverified(of.document)
    yield from _shared(of)
    for name, node in of.nodes.items():
        own = [finding for check in NODE_CHECKS for finding in check(of, name, node)]
        yield from own
        broken = any(finding.cause in ("no-device", "device-down") for finding in own)
        of_peers = [] if broken else list(_of_peers(of, name, node))
        yield from of_peers
        if not any(finding.severity == "error" for finding in (*own, *of_peers)):
            yield from _drift(of, name, node)


def vteps(node: Node) -> list[Device]:
    return [device for device in (node["device"], node["device6"]) if device]


def subnets_of(node: Node) -> list[str]:
    """Those that peers should have a route to."""
    return node["lease"]["subnets"] if node["lease"] else node["subnets"]


# --- a node ---


def _unverified(document: Document) -> Iterator[Finding]:
    for name, node in document["nodes"].items():
        if node["state"] != "verified":
            text = f"{name} could not be looked at: {(node['reason'] or node['state']).rstrip('.')}."
            yield Finding(node["state"], name, "", name, text, Repair(f"ansible {name} --module-name ping"), frozenset((REACH, UNDERLAY)))


def _shared(of: Mesh) -> Iterator[Finding]:
    """What two nodes have of which each needs its own."""
    holders: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, node in of.nodes.items():
        for subnet in node["subnets"]:
            holders["subnet", "pod subnet", subnet].append(name)
        for device in vteps(node):
            holders["mac", f"MAC of {device['name']}", device["mac"]].append(name)
        for underlay in node["underlay"]:
            holders["underlay", "underlay address", underlay].append(name)
    for (kind, what, value), names in holders.items():
        if len(names) > 1:
            wrong = tuple(name for name in names if _strays(of.nodes[name])) or tuple(names)
            text = f"{listed(names)} have the same {what}, {value}: packets for one come to another."
            advice = Repair(f"give each of {listed(names)} its own {what}")
            repair = Repair(_own_subnets(of.nodes[wrong[0]]), wrong) if of.has_ledger else advice
            explains = frozenset((REACH, ANSWER, UNDERLAY) if kind == "underlay" else (REACH, ANSWER))
            hop = f"{wrong[0]}: {what} {value}"
            yield Finding(f"duplicate-{kind}", wrong[0], "", hop, text, repair, explains, others=tuple(sorted({*names} - {wrong[0]})))


def _strays(node: Node) -> bool:
    """Whether it has something else than the ledger has for it."""
    lease = node["lease"]
    if not lease:
        return False
    macs = [device["mac"] for device in vteps(node)]
    pairs = ((node["subnets"], lease["subnets"]), (macs, lease["macs"]), (node["underlay"], lease["underlays"]))
    return any(set(found) - set(wanted) for found, wanted in pairs)


def _strange(node: Node) -> list[str]:
    """The addresses of the bridge that are of no subnet that the node should have."""
    networks = [ip_network(subnet) for subnet in subnets_of(node)]
    return [each for each in (node["bridge"] or {"addresses": []})["addresses"] if networks and ip_interface(each).network not in networks]


def _own_subnets(node: Node) -> str:
    """What brings a node to its lease. vxlan_peers refuses a peer whose subnet the bridge has still."""
    bridge = (node["bridge"] or {"name": ""})["name"]
    return "\n".join([*(f"ip address del {each} dev {bridge}" for each in _strange(node)), SITE])


def _device(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    both = frozenset((REACH, ANSWER))
    if not node["device"] and not node["device6"]:
        if not node["routes"]:  # flannel's host-gw has none either
            text = f"There is no VXLAN device on {name}."
            yield Finding("no-device", name, "", name, text, of.repair(name, "systemctl restart flanneld"), both)
        return
    network = of.document["network"]
    for device in vteps(node):
        hop = f"{name}: {device['name']}"
        if not device["up"]:
            repair = of.repair(name, f"ip link set {device['name']} up")
            yield Finding("device-down", name, "", hop, f"{device['name']} of {name} is down.", repair, both)
        for field in ("vni", "port"):
            found, wanted = (device["vni"], network["vni"]) if field == "vni" else (device["port"], network["port"])
            if found != wanted:
                text = f"{device['name']} of {name} has {field} {found}, and the cluster has {wanted}."
                repair = of.repair(name, "systemctl restart flanneld", f"{SITE} --extra-vars podnet_recreate=true")
                yield Finding(f"wrong-{field}", name, "", hop, text, repair, both)
        if node["lease"] and device["mac"] not in node["lease"]["macs"]:
            text = f"{device['name']} of {name} has MAC {device['mac']}, and the ledger has {listed(node['lease']['macs'])} for it."
            yield Finding("wrong-mac", name, "", hop, text, Repair(SITE, (name,)), both)


def _subnets(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    """Whether the node, its bridge and the pods on it have the node's subnet."""
    wanted, shared = subnets_of(node), any(len(of.owners[subnet]) > 1 for subnet in node["subnets"])
    if node["subnets"] and set(node["subnets"]) != set(wanted) and not shared:
        text = f"{name} gives pods addresses of {listed(node['subnets'])}, and the ledger has {listed(wanted)} for it."
        repair = Repair(_own_subnets(node), (name,))
        yield Finding("wrong-subnet", name, "", f"{name}: subnet.env", text, repair, frozenset((REACH, ANSWER)))
    networks = [ip_network(subnet) for subnet in wanted]
    bridge, strange = node["bridge"], _strange(node)
    if bridge and strange and set(node["subnets"]) == set(wanted):
        text = f"{bridge['name']} of {name} has {listed(strange)}, which is not of {listed(wanted)}."
        repair = Repair(f"ip address del {strange[0]} dev {bridge['name']}", (name,))
        yield Finding("wrong-bridge", name, "", f"{name}: {bridge['name']}", text, repair, frozenset((REACH, ANSWER)))
    outside = [each for each in node["allocations"] if not any(ip_address(each) in network for network in networks)]
    if outside and networks:
        text = f"Pods on {name} have addresses that are not of {listed(wanted)}: {listed(outside)}."
        advice = Repair(f"restart the pods on {name} that have these addresses, so that they get others")
        yield Finding("stale-pods", name, "", f"{name}: /var/lib/cni/networks", text, advice, frozenset((REACH,)), "warning")


def _forwarding(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    families = {":" in subnet for subnet in subnets_of(node)}
    for six, sysctl in ((False, "net.ipv4.ip_forward"), (True, "net.ipv6.conf.all.forwarding")):
        if six in families and node["settings"].get(sysctl) == 0:
            repair = of.repair(name, f"sysctl -w {sysctl}=1")
            text = f"{name} does not forward packets between pods and the overlay: {sysctl} is 0."
            yield Finding("no-forward", name, "", f"{name}: {sysctl}", text, repair, frozenset((PODS,)))


def _sizes(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    """Whether what a pod may send fits into what carries it."""
    bridge, pod, said = node["bridge"], node["pod"], node["subnet_env"]
    inner = [
        ("the pod", pod["mtu"] if pod else 0),
        ("the bridge", bridge["mtu"] if bridge and pod else 0),  # a bridge without a port has 1500, whatever it was (br_mtu_min())
        ("subnet.env", said["mtu"] if said else 0),
    ]
    for device in vteps(node)[:1]:
        wrong = [f"{what} {mtu}" for what, mtu in inner if mtu > device["mtu"]]
        if wrong:
            text = f"{device['name']} of {name} has MTU {device['mtu']}, and {listed(wrong)}: larger packets get lost or are refused."
            repair = of.repair(name, f"ip link set {bridge['name'] if bridge else 'cni0'} mtu {device['mtu']}")
            yield Finding("mtu", name, "", f"{name}: {device['name']}", text, repair, frozenset((SIZE,)))


def _limits(_of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    sysctls = {"conntrack": "net.netfilter.nf_conntrack_max", "neighbours": "net.ipv4.neigh.default.gc_thresh3"}
    for limit in node["limits"]:
        if limit["used"] >= NEARLY_FULL * limit["limit"]:
            sysctl = sysctls.get(limit["name"], "net.ipv6.neigh.default.gc_thresh3")
            text = f"{name} uses {limit['used']} of {limit['limit']} entries for {limit['name']}; what comes when it is full is dropped."
            repair = Repair(f"sysctl -w {sysctl}={2 * limit['limit']}", (name,))
            yield Finding("limit", name, "", f"{name}: {limit['name']}", text, repair, severity="warning")


def _counters(_of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    counters = node["counters"]
    wrong = counters.get("UdpInCsumErrors", 0)
    if wrong:
        text = f"{name} received {wrong} UDP packets with a wrong checksum, which offloading to a network card can be the reason of."
        repair = Repair(f"ethtool -K {node['interface'] or 'eth0'} tx-udp_tnl-csum-segmentation off", (name,))
        yield Finding("checksums", name, "", f"{name}: {node['interface']}", text, repair, severity="warning")
    for device in vteps(node):
        packets = counters.get(f"{device['name']} tx_packets", 0)
        lost = sum(counters.get(f"{device['name']} {what}", 0) for what in ("tx_errors", "tx_dropped"))
        if lost > max(MANY * packets, SOME):
            text = f"{device['name']} of {name} did not send {lost} packets, and sent {packets}."
            repair = Repair(f"ip -statistics -statistics link show {device['name']}", (name,))
            yield Finding("drops", name, "", f"{name}: {device['name']}", text, repair, severity="warning")


def _ledger(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    network, applied = of.document["network"], node["applied"]
    if of.has_ledger and applied and applied["generation"] > network["generation"]:
        newer = f"generation {applied['generation']} of the ledger at {applied['at']}"
        text = f"{name} was brought to {newer}, and this ledger is of generation {network['generation']}."
        repair = Repair(f"take the newer ledger in place of {network['ledger']}")
        yield Finding("older-ledger", name, "", f"{name}: /var/lib/podnet.json", text, repair)


def _drift(_of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    drift = node["drift"]
    if drift and drift["refused"]:
        yield Finding("refused", name, "", name, f"The ledger cannot be applied to {name}: {drift['refused']}", Repair(SITE, (name,)))
    elif drift and drift["commands"]:
        commands = drift["commands"]
        text = f"{name} differs from the ledger, by {len(commands)} commands; the first is {commands[0]}."
        yield Finding("drift", name, "", name, text, Repair(SITE, (name,)), severity="warning")


NODE_CHECKS: tuple[Callable[[Mesh, str, Node], Iterator[Finding]], ...] = (
    _device,
    _subnets,
    _forwarding,
    _sizes,
    _limits,
    _counters,
    _ledger,
)


# --- a node and another one ---


class Side(NamedTuple):
    """A node as it sees another one, by one of the other's pod subnets."""

    of: Mesh
    name: str
    node: Node
    device: Device
    other: str
    there: Node
    vtep: Device
    subnet: str

    @property
    def gateway(self) -> str:
        return self.subnet.split("/")[0]

    def commands(self) -> dict[str, str]:
        """What iproute2 needs to be told of the other node."""
        name, mac, underlay = self.device["name"], self.vtep["mac"], self.vtep["local"]
        return {
            "neighbour": f"ip neigh replace {self.gateway} lladdr {mac} dev {name} nud permanent",
            "fdb": f"bridge fdb replace {mac} dev {name} dst {underlay} self permanent",
            "route": f"ip route replace {self.subnet} via {self.gateway} dev {name} onlink",
        }

    def finding(self, cause: str, hop: str, text: str, command: str, *explains: str) -> Finding:
        repair = self.of.repair(self.name, command, PEERS)
        return Finding(cause, self.name, self.other, f"{self.name}: {hop}", text, repair, frozenset(explains or (REACH,)))


def _of_peers(of: Mesh, name: str, node: Node) -> Iterator[Finding]:
    by_subnet = {subnet: peer for peer in node["peers"] for subnet in peer["subnets"]}
    underlays = {peer["mac"]: peer["underlay"] for peer in node["peers"] if peer["underlay"]}
    for other, there in of.nodes.items():
        if other != name:
            for side in _sides(of, name, node, other):
                yield from _entries(side, by_subnet, underlays)
            yield from _underlay(of, name, node, other, there)


def _sides(of: Mesh, name: str, node: Node, other: str) -> Iterator[Side]:
    """One for each subnet that only the other node has, and that goes through VTEPs which both have."""
    there = of.nodes[other]
    for subnet in subnets_of(there):
        device, vtep = _vtep_for(node, subnet), _vtep_for(there, subnet)
        if device and vtep and subnet not in node["subnets"] and len(of.owners[subnet]) <= 1:
            yield Side(of, name, node, device, other, there, vtep, subnet)


def _vtep_for(node: Node, subnet: str) -> Device | None:
    return node["device6"] or node["device"] if ":" in subnet else node["device"]


def _entries(side: Side, by_subnet: Mapping[str, Peer], underlays: Mapping[str, str]) -> Iterator[Finding]:
    """Route, neighbour and fdb entry, in the order in which a packet needs them; the first that is wrong is the reason."""
    name, other, subnet, commands = side.name, side.other, side.subnet, side.commands()
    elsewhere = side.node["routes"].get(subnet)
    peer = by_subnet.get(subnet)
    if elsewhere and not peer:
        if elsewhere not in side.there["underlay"]:
            text = f"{name} sends what is for the pods of {other} to {elsewhere}, which is not {other}."
            yield side.finding("wrong-route", f"route to {subnet}", text, commands["route"], REACH, ANSWER)
    elif not peer:
        text = f"{name} has no route to {subnet}, the pods of {other}."
        yield side.finding("no-route", f"route to {subnet}", text, commands["route"])
    elif not peer["mac"]:
        text = f"{name} has no neighbour entry for {side.gateway}, the VTEP of {other}."
        yield side.finding("no-neighbour", f"neighbour {side.gateway} on {side.device['name']}", text, commands["neighbour"])
    elif peer["mac"] != side.vtep["mac"]:
        yield from _wrong_mac(side, peer["mac"], underlays)
    elif not peer["underlay"]:
        text = f"{name} has no fdb entry for {peer['mac']}, the VTEP of {other}."
        yield side.finding("no-fdb", f"fdb entry {peer['mac']} on {side.device['name']}", text, commands["fdb"])
    elif peer["underlay"] not in side.there["underlay"]:
        has = f"while it has {listed(side.there['underlay'])}"
        text = f"{name} sends what is for the pods of {other} to the underlay address {peer['underlay']}, {has}."
        yield side.finding("wrong-underlay", f"fdb entry {peer['mac']} on {side.device['name']}", text, commands["fdb"], REACH, ANSWER)


def _wrong_mac(side: Side, mac: str, underlays: Mapping[str, str]) -> Iterator[Finding]:
    """Unless it is the other node that lost the MAC which the ledger has for it."""
    lease, vtep = side.there["lease"], side.vtep
    if not lease or vtep["mac"] in lease["macs"]:
        text = f"{side.name} has MAC {mac} for the VTEP of {side.other}, and {vtep['name']} of {side.other} has {vtep['mac']}."
        both = side.commands()
        command = both["neighbour"] if underlays.get(vtep["mac"]) in side.there["underlay"] else f"{both['neighbour']}\n{both['fdb']}"
        yield side.finding("wrong-mac", f"neighbour {side.gateway} on {side.device['name']}", text, command, REACH, ANSWER)


def _underlay(of: Mesh, name: str, node: Node, other: str, there: Node) -> Iterator[Finding]:
    """What the node's own network does to packets of the other node."""
    for device in vteps(node)[:1]:
        for underlay in there["underlay"]:
            if node["admitted"] is not None and underlay not in node["admitted"]:
                text = f"The firewall of {name} does not let in VXLAN from {other}, {underlay}."
                command = f"nft add element inet podnet peers{'6' if ':' in underlay else ''} {{ {underlay} }}"
                repair = of.repair(name, command, PEERS)
                yield Finding("filtered", name, other, f"{name}: nft inet podnet, set peers", text, repair, frozenset((REACH,)))
            way = node["underlay_routes"].get(underlay)
            if way:
                yield from _reverse_path(name, node, other, way["interface"], device["interface"])
                needed = device["mtu"] + ENCAPSULATION[6 if ":" in underlay else 4]
                if 0 < way["mtu"] < needed:
                    out = f"what {name} sends to {other} at once is at most {way['mtu']}"
                    text = f"{device['name']} of {name} has MTU {device['mtu']}, which makes packets of {needed} bytes, and {out}."
                    repair = of.repair(name, f"ip link set {way['interface']} mtu {needed}")
                    yield Finding("mtu", name, other, f"{name}: {way['interface']}", text, repair, frozenset((SIZE,)))


def _reverse_path(name: str, node: Node, other: str, back: str, interface: str) -> Iterator[Finding]:
    """The strictest of all and the interface's own setting holds."""
    sysctl = f"net.ipv4.conf.{interface.replace('.', '/')}.rp_filter"
    own, all_of_them = (node["settings"].get(each, 0) for each in (sysctl, "net.ipv4.conf.all.rp_filter"))
    if back and interface and back != interface and max(own, all_of_them) == STRICT:
        why = f"since it would answer by {back} and its reverse path filter is strict: {sysctl}"
        text = f"{name} drops what {other} sends to {interface}, {why}."
        repair = Repair(f"sysctl -w {sysctl}=2", (name,))
        yield Finding("rp-filter", name, other, f"{name}: {interface}", text, repair, frozenset((REACH, UNDERLAY)))


def listed(names: Iterable[str], most: int = 3) -> str:
    """`a, b and c`, or `a, b, c and 12 more`."""
    there = list(names)
    shown = there[:most] if len(there) > most + 1 else there
    rest = [f"{len(there) - len(shown)} more"] if len(shown) < len(there) else []
    words = [*shown, *rest]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
