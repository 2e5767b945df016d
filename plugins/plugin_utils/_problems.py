# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification found, as problems: each failed path is laid to what explains it, and what has one reason is one problem. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._filters import TRANSLATES
from ansible_collections.podnet.baremetal.plugins.plugin_utils._findings import (
    ANSWER,
    PEERS,
    PODS,
    REACH,
    SITE,
    SIZE,
    UNDERLAY,
    Finding,
    Mesh,
    Repair,
    findings,
    listed,
    mesh,
)
from ansible_collections.podnet.baremetal.plugins.plugin_utils._paths import LOSS, SOURCE, addresses_of, failures
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Path, Problem

BETWEEN = "between "
ENDS = ("pod", "node")
NFT = "nft"
OURS = "podnet"  # the table that the role flannel makes
RULE = re.compile(
    r"(?P<tool>nft|ip6?tables-legacy) (?P<family>\S+) (?P<table>\S+) (?P<chain>\S+): (?P<text>.*?)(?: # handle (?P<handle>\d+))?"
)
POLICY = re.compile(r"\bhook (\w+) .*policy drop;")
UNUSED = re.compile(r"\bcounter packets 0 ")
FROM = re.compile(r"(?:\bsaddr|-s) ([0-9a-f.:/]+) ")


def problems(document: Document) -> list[Problem]:
    """Those of the document, whatever it has for problems already. Errors come first, and of them what explains most paths."""
    of = mesh(document)
    blamed = Counter(dict.fromkeys(findings(of), 0))
    diagnosis = Diagnosis(of, _by_place(blamed), _by_pair(document["paths"]))
    blamed.update(diagnosis.reason(path, kind) for path in document["paths"] for kind in failures(path, of.nodes))
    return sorted(_grouped(blamed), key=lambda problem: (problem["severity"], -problem["paths"], problem["cause"], problem["nodes"]))


def _by_place(found: Mapping[Finding, int]) -> Mapping[tuple[str, str], list[Finding]]:
    """By where they are and what they are about, "" for the node itself."""
    by_place = defaultdict(list)
    for finding in found:
        for at in (finding.at, *finding.others):
            by_place[at, finding.about].append(finding)
    return by_place


def _by_pair(paths: Iterable[Path]) -> Mapping[tuple[str, str], list[Path]]:
    by_pair = defaultdict(list)
    for path in paths:
        by_pair[path["from"], path["to"]].append(path)
    return by_pair


class Diagnosis(NamedTuple):
    """What is known when a path is to be explained."""

    of: Mesh
    by_place: Mapping[tuple[str, str], list[Finding]]
    by_pair: Mapping[tuple[str, str], list[Path]]

    def reason(self, path: Path, kind: str) -> Finding:
        """What the tables say on the way there and on the way back, else what the other paths say."""
        here, there = path["from"], path["to"]
        plain = kind == REACH and (path["source"], path["target"]) == ("node", "node")
        wanted = {UNDERLAY if plain else kind}
        at_here, at_there = wanted | {PODS} if path["source"] == "pod" else wanted, wanted | {PODS} if path["target"] == "pod" else wanted
        places = ((here, "", at_here), (here, there, at_here), (there, "", at_there), (there, here, at_there))
        for at, about, kinds in places:
            for finding in self.by_place.get((at, about), ()):
                if finding.explains & kinds:
                    return finding
        others = {REACH: self._lost, SIZE: self._size, ANSWER: self._answer, SOURCE: self._translated, LOSS: self._loss}
        return others[kind](path)

    def _lost(self, path: Path) -> Finding:
        here, there = path["from"], path["to"]
        if path["target"] == "service":
            text = f"{here} does not reach the service address {path['address']}{_because(path)}."
            advice = Repair(f"look at what serves service addresses on {here}, such as kube-proxy, and at the pods behind the service")
            return Finding("service", here, "", f"{here}: {path['address']}", text, advice)
        if here == there:
            return self._pod_side(path)
        if self._came(here, there, ("node",), ("node",)) is False:
            return _between(
                "underlay", path, "do not reach each other by their underlay addresses", "look at the network between these nodes", ""
            )
        return self._dropped(path, there, here) or self._dropped(path, here, there) or self._by_others(path)

    def _by_others(self, path: Path) -> Finding:
        """What is left when the tables are right and no rule is known."""
        here, there = path["from"], path["to"]
        port = self.of.document["network"]["port"]
        dead = not any(self._came(*pair, ENDS, ("pod", "gateway")) for pair in ((here, there), (there, here)))
        if dead and self._came(here, there, ("node",), ("node",)):
            text = f"reach each other, their tables agree, and no VXLAN comes through: UDP port {port} is dropped between them"
            return _between("filtered", path, text, f"let UDP port {port} pass between these nodes", f": UDP {port}")
        if path["target"] == "pod" and self._came(here, there, ENDS, ("gateway",)):
            return self._pod_side(path)
        text = f"{path['source']} of {here} does not reach {path['address']}, the {path['target']} of {there}{_because(path)}"
        command = f"timeout 20 tcpdump -c 20 -ni any udp port {port} or host {path['address']}"
        return Finding(
            "unexplained", here, there, f"{here} to {there}", f"The {text}, and no table says why.", Repair(command, (here, there))
        )

    def _came(self, here: str, there: str, sources: Sequence[str], targets: Sequence[str]) -> bool | None:
        """Whether anything came back by such paths; None where none was tried."""
        paths = [path for path in self.by_pair.get((here, there), ()) if path["source"] in sources and path["target"] in targets]
        return any(path["received"] for path in paths) if paths else None

    def _pod_side(self, path: Path) -> Finding:
        there = path["to"]
        bridge = (self.of.nodes[there]["bridge"] if there in self.of.nodes else None) or {"name": "cni0"}
        text = f"What is for the pod on {there} comes to the node, and does not come to the pod or back from it: {path['address']}."
        command = f"bridge link show master {bridge['name']}"
        return Finding("pod-side", there, "", f"{there}: {bridge['name']}", text, Repair(command, (there,)))

    def _dropped(self, path: Path, at: str, other: str) -> Finding | None:
        """By a rule of the node's firewalls that is not ours."""
        node, peer = self.of.nodes.get(at), self.of.nodes.get(other)
        if not node or not peer:
            return None
        forwards = path["source" if at == path["from"] else "target"] == "pod"
        for rule in filter(None, map(RULE.fullmatch, node["filters"])):
            policy = POLICY.search(rule["text"])
            if policy and (forwards or policy[1] != "forward"):
                return self._closed(at, other, rule, policy[1])
            if not policy and not TRANSLATES.search(rule["text"]) and _matches(rule["text"], peer["underlay"]):
                text = f"A rule of {at} drops VXLAN from {other}: {rule['text']}."
                return Finding("filtered", at, other, f"{at}: {rule['tool']} {_home(rule)}", text, Repair(_deleting(rule), (at,)))
        return None

    def _closed(self, at: str, other: str, rule: re.Match[str], hook: str) -> Finding:
        network = self.of.document["network"]
        what = f"udp dport {network['port']}"
        commands = "\n".join(_opening(rule, network["cluster_cidrs"] if hook == "forward" else [], network["port"]))
        text = f"The chain {_home(rule)} of {at} drops by its policy, and nothing in it accepts {'pods' if hook == 'forward' else what}."
        # The role flannel asks iptables, which need not be the one that does without nftables.
        repair = self.of.repair(at, commands) if hook == "forward" and rule["tool"] == NFT else Repair(commands, (at,))
        return Finding("filtered", at, other, f"{at}: {rule['tool']} {_home(rule)}", text, repair)

    def _size(self, path: Path) -> Finding:
        here, there = path["from"], path["to"]
        mtu = self.of.document["network"]["mtu"]
        if path["fits"] is False:
            what = f"reach each other, and packets of {mtu} bytes, the MTU of pods, do not come through"
            advice = f"let {mtu + 50} bytes pass between these nodes, or set podnet_mtu lower, run {SITE} and restart the pods"
            return _between("mtu", path, what, advice, ": path MTU")
        text = f"A packet of more than {mtu} bytes that may not be fragmented goes from {here} to {there}: somewhere the MTU is higher."
        repair = self.of.repair(here, "ip link show")
        return Finding("mtu-above", here, there, f"{here}: MTU", text, repair, severity="warning")

    def _answer(self, path: Path) -> Finding:
        here, there = path["from"], path["to"]
        text = f"{path['address']} is a pod on {there}, and to {here} a pod on {path['answered']} answers."
        repair = self.of.repair(here, f"ip route get {path['address']}", PEERS)
        return Finding("wrong-answer", here, there, f"{here}: route to {path['address']}", text, repair, others=(path["answered"],))

    def _translated(self, path: Path) -> Finding:
        here, there = path["from"], path["to"]
        at = next((name for name in (there, here) if path["seen"] in addresses_of(self.of.nodes.get(name))), here)
        text = f"Packets from the {path['source']} of {here} come to pods on {there} as from {path['seen']}: {at} masquerades them"
        rules = filter(None, map(RULE.fullmatch, self.of.nodes[at]["filters"] if at in self.of.nodes else []))
        found = sorted((rule for rule in rules if TRANSLATES.search(rule["text"])), key=_unlikely)
        if not found:
            return Finding("masqueraded", at, "", at, f"{text}.", Repair("nft --handle list ruleset", (at,)))
        repair = Repair(SITE if found[0]["table"] == OURS else _deleting(found[0]), (at,))
        return Finding("masqueraded", at, "", f"{at}: {found[0]['tool']} {_home(found[0])}", f"{text}, by {found[0]['text']}.", repair)

    def _loss(self, path: Path) -> Finding:
        here, there = path["from"], path["to"]
        text = f"Of {path['sent']} packets from {here} to {path['address']} on {there} {path['received']} came back."
        repair = Repair(f"ping -c 100 -i 0.01 -q {path['address']}", (here,))
        return Finding("loss", here, there, f"{here} to {there}", text, repair, severity="warning")


def _between(cause: str, path: Path, what: str, advice: str, hop: str) -> Finding:
    """Of no node, but of the network between two, so the same from either end."""
    here, there = sorted((path["from"], path["to"]))
    place = f"{BETWEEN}{here} and {there}{hop}"
    return Finding(cause, here, there, place, f"{here} and {there} {what}.", Repair(advice))


def _because(path: Path) -> str:
    return f" ({path['error']})" if path["error"] else ""


def _home(rule: re.Match[str]) -> str:
    return f"{rule['family']} {rule['table']} {rule['chain']}"


def _deleting(rule: re.Match[str]) -> str:
    if rule["tool"] == NFT:
        return f"nft delete rule {_home(rule)} handle {rule['handle']}"
    return f"{rule['tool']} -t {rule['table']} -D {rule['chain']} {rule['text']}"


def _opening(rule: re.Match[str], cidrs: Sequence[str], port: int) -> list[str]:
    """What lets pods of these ranges through the chain or, without ranges, VXLAN."""
    if rule["tool"] == NFT:
        ranges = [f"{'ip6' if ':' in cidr else 'ip'} {end} {cidr}" for cidr in cidrs for end in ("saddr", "daddr")]
        return [f"nft insert rule {_home(rule)} {match} accept" for match in ranges or [f"udp dport {port}"]]
    matches = [f"{end} {cidr}" for cidr in cidrs if (":" in cidr) == (rule["family"] == "ip6") for end in ("-s", "-d")]
    return [f"{rule['tool']} -I {rule['chain']} {match} -j ACCEPT" for match in matches or [f"-p udp --dport {port}"]]


def _matches(text: str, sources: Sequence[str]) -> bool:
    """Whether the rule may be what dropped packets from these: it has dropped some, and names no others."""
    source = FROM.search(text)
    return not UNUSED.search(text) and (not source or any(_lies_in(each, source[1]) for each in sources))


def _lies_in(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network, strict=False)


def _unlikely(rule: re.Match[str]) -> tuple[bool, bool]:
    """Sorts what has translated nothing, and what is ours, behind."""
    return bool(UNUSED.search(rule["text"])), rule["table"] == OURS


# --- from findings to problems ---


def _grouped(blamed: Mapping[Finding, int]) -> Iterator[Problem]:
    """One for each cause at a node or about a node, whichever says more with one sentence."""
    at, about = Counter((each.cause, each.at) for each in blamed), Counter((each.cause, each.about) for each in blamed)
    groups: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in blamed:
        if finding.hop.startswith(BETWEEN):
            key: tuple[str, ...] = (finding.cause, BETWEEN)
        elif not finding.about:
            key = (finding.cause, finding.hop)
        elif at[finding.cause, finding.at] >= about[finding.cause, finding.about]:
            key = (finding.cause, "at", finding.at)
        else:
            key = (finding.cause, "about", finding.about)
        groups[key].append(finding)
    for group in groups.values():
        group.sort(key=lambda finding: -blamed[finding])
        yield _problem(group, sum(blamed[finding] for finding in group))


def _problem(group: Sequence[Finding], paths: int) -> Problem:
    first = group[0]
    others = list(dict.fromkeys(other for each in group[1:] for other in (each.at, each.about) if other not in (first.at, first.about)))
    more = f" It is the same with {listed(others)}." if others else ""
    return {
        "severity": first.severity,
        "cause": first.cause,
        "nodes": list(dict.fromkeys(name for each in group for name in (each.at, each.about, *each.others) if name)),
        "hop": first.hop,
        "text": f"{first.text}{more}",
        "repair": _repair(group),
        "paths": paths,
    }


def _repair(group: Sequence[Finding]) -> str:
    """A line for each command, with the hosts that need it."""
    hosts: dict[str, dict[str, None]] = {}
    for finding in group:
        for command in finding.repair.command.splitlines():
            hosts.setdefault(command, {}).update(dict.fromkeys(finding.repair.hosts))
    return "\n".join(_line(command, ",".join(names)) for command, names in hosts.items())


def _line(command: str, hosts: str) -> str:
    if not hosts:
        return command
    if command.startswith((SITE, PEERS)):
        return f"ansible-playbook {command} --limit {hosts}"
    return f"ansible {hosts} --become --args '{command}'"
