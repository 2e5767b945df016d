# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of a node's firewalls can drop VXLAN or pods, or translate what pods send, as nft(8) and iptables-save(8) say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

OURS = "nft inet podnet"  # what this table lets in is read off its sets
DROPS = re.compile(r"\b(drop|reject)\b|-j (DROP|REJECT)\b")
TRANSLATES = re.compile(r"\b(masquerade|snat)\b|-j (MASQUERADE|SNAT)\b")
ACCEPTS = re.compile(r"\baccept\b|-j ACCEPT\b")
POLICY = re.compile(r"\bhook (input|forward|output) .*policy drop;")
JUMPS = re.compile(r"(?:\bjump|\bgoto|-j|-g) (\S+)")
# Chains in which pods are accepted, as the role flannel and flanneld (trafficmngr/iptables) call theirs.
ACCEPTING = re.compile(r"\b(PODNET-FORWARD|FLANNEL-FWD)\b")


class Rule(NamedTuple):
    """A line of a chain: a rule, or the chain's hook and policy. `table` is the tool that shows it, the family and the name."""

    table: str
    chain: str
    text: str

    @property
    def home(self) -> tuple[str, str]:
        return self.table, self.chain

    def __str__(self) -> str:
        return f"{self.table} {self.chain}: {self.text}"


def filters(ruleset: str, port: int, legacy: Mapping[str, str] | None = None) -> list[str]:
    """What drops the VXLAN port, what drops by policy, and what translates source addresses.

    It is read off what `nft -a -t list ruleset` prints, and by family what `iptables-legacy-save` does.
    """
    rules = [*_rules(ruleset), *(rule for family, text in (legacy or {}).items() for rule in _saved(family, text))]
    about = re.compile(rf"\bdport ({port}\b|\{{[^}}]*\b{port}\b[^}}]*\}})")
    ports = [rule for rule in rules if about.search(rule.text) and rule.table != OURS]
    jumped = {(rule.table, chain) for rule in ports for chain in JUMPS.findall(rule.text)}
    dropping = [rule for rule in rules if DROPS.search(rule.text) and (rule in ports or rule.home in jumped)]
    accepted = {rule.table for rule in ports if ACCEPTS.search(rule.text) or JUMPS.search(rule.text)}
    closed = [rule for rule in rules if POLICY.search(rule.text) and not _opened(rule, rules, accepted)]
    return [str(rule) for rule in (*dropping, *closed, *(rule for rule in rules if TRANSLATES.search(rule.text)))]


def _opened(policy: Rule, rules: list[Rule], accepted: set[str]) -> bool:
    """Whether a chain that drops by policy says something of VXLAN, or of pods, before."""
    if "hook forward" in policy.text:
        return any(rule.home == policy.home and ACCEPTING.search(rule.text) for rule in rules)
    return policy.table in accepted


def _rules(ruleset: str) -> Iterator[Rule]:
    table = chain = ""
    for line in ruleset.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            table = " ".join(["nft", *words[1:3]])
        elif words[:1] == ["chain"]:
            chain = words[1]
        elif words[:1] == ["}"]:
            chain = ""
        elif words and chain:
            yield Rule(table, chain, line.strip())


def _saved(family: str, text: str) -> Iterator[Rule]:
    """Of what iptables-save(8) prints: `*table`, `:CHAIN POLICY [counters]` and `-A CHAIN rule`, with the policy as nft(8) has it."""
    table = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("*"):
            table = f"{family}tables-legacy {family} {line[1:]}"
        elif line.startswith(":") and words[1] == "DROP":
            yield Rule(table, words[0][1:], f"hook {words[0][1:].lower()} policy drop;")
        elif line.startswith("-A "):
            yield Rule(table, words[1], " ".join(words[2:]))
