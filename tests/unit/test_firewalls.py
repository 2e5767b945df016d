# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a node's firewalls can drop or translate packets of pods, read off what nft(8) prints."""

from __future__ import annotations

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._filters import filters


def ruleset(table: str, chain: str, hook: str, *rules: str, more: str = "") -> str:
    lines = [
        f"table {table} {{ # handle 1",
        f"\tchain {chain} {{ # handle 1",
        f"\t\ttype filter hook {hook}",
        *(f"\t\t{rule}" for rule in rules),
    ]
    return "\n".join([*lines, "\t}", more, "}", ""])


DROP = "input priority filter; policy drop;"
ACCEPT = "input priority filter; policy accept;"

SAVED = """*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.20.0.0/16 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:FLANNEL-FWD - [0:0]
-A INPUT -p udp -m udp --dport 8472 -j VXLAN
-A FORWARD -j FLANNEL-FWD
-A VXLAN -s 198.51.100.1/32 -j REJECT --reject-with icmp-port-unreachable
-A VXLAN -j ACCEPT
COMMIT
"""


def test_an_iptables_without_nftables_is_read_as_well() -> None:
    assert filters("", 8472, {"ip": SAVED, "ip6": "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"}) == [
        "iptables-legacy ip filter VXLAN: -s 198.51.100.1/32 -j REJECT --reject-with icmp-port-unreachable",
        "ip6tables-legacy ip6 filter FORWARD: hook forward policy drop;",
        "iptables-legacy ip nat POSTROUTING: -s 172.20.0.0/16 -j MASQUERADE",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", []),
        (
            ruleset("inet f", "in", ACCEPT, "udp dport 8472 counter packets 1 bytes 9 drop # handle 2"),
            ["udp dport 8472 counter packets 1 bytes 9 drop # handle 2"],
        ),
        (ruleset("inet f", "in", ACCEPT, "udp dport { 53, 8472 } reject # handle 2"), ["udp dport { 53, 8472 } reject # handle 2"]),
        (ruleset("inet f", "in", ACCEPT, "udp dport 18472 drop # handle 2", "tcp dport 22 drop # handle 3"), []),
        (ruleset("inet f", "in", DROP, "tcp dport 22 accept # handle 2"), [f"type filter hook {DROP}"]),
        (ruleset("inet f", "in", DROP, "udp dport 8472 accept # handle 2"), []),
        (
            ruleset("ip filter", "FORWARD", "forward priority filter; policy drop;"),
            ["type filter hook forward priority filter; policy drop;"],
        ),
        (ruleset("ip filter", "FORWARD", "forward priority filter; policy drop;", "jump PODNET-FORWARD # handle 4"), []),
        (ruleset("ip nat", "POST", ACCEPT, 'oifname "eth0" masquerade # handle 3'), ['oifname "eth0" masquerade # handle 3']),
        (ruleset("inet podnet", "input", ACCEPT, "udp dport 8472 jump vxlan # handle 2"), []),
    ],
)
def test_rules_that_drop_the_port_or_pods_or_translate_are_told_and_others_are_not(text: str, said: list[str]) -> None:
    assert [rule.partition(": ")[2] for rule in filters(text, 8472)] == said


def test_a_chain_to_which_the_port_is_sent_counts_with_what_it_drops() -> None:
    more = "\tchain vx {\n\t\tip saddr 198.51.100.2 accept # handle 5\n\t\tdrop # handle 6\n\t}\n\tchain other {\n\t\tdrop # handle 7\n\t}"
    text = ruleset("inet f", "in", ACCEPT, "udp dport 8472 goto vx # handle 4", more=more)
    assert filters(text, 8472) == ["nft inet f vx: drop # handle 6"]


def test_what_is_no_chain_is_no_rule() -> None:
    sets = '\tset peers { # handle 2\n\t\ttype ipv4_addr\n\t\tcomment "drop masquerade"\n\t}'
    assert filters(ruleset("inet f", "in", ACCEPT, more=sets), 8472) == []
