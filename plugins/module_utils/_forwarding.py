# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else on a node decides what is forwarded, read off what nft(8) and iptables(8) print: a drop there no table of ours lifts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}  # as Ansible and as nft call them
CHAIN = "PODNET-FORWARD"  # the chain of iptables in which the role flannel accepts pods
DROPS = {
    "nft": re.compile(r"\tchain FORWARD \{\n[^}]*policy drop;"),
    "iptables": re.compile(r"^-P FORWARD DROP$", re.MULTILINE),
}
UFW = re.compile(r"\bufw6?-before-forward\b")  # which stay, empty, when it is switched off
UFW_SAYS = "/etc/ufw/ufw.conf"


def forwarding(chains: str, legacy: Mapping[str, str], ufw: str) -> dict[str, Any]:
    """Of what `nft list chains` prints, by family what `iptables -S` does where it does without nftables, and ufw's ufw.conf.

    Gives the families in which iptables' FORWARD drops by policy, those that have the chain of ours, and whether ufw and firewalld are on.
    """
    shown = {family: _filter(chains, name) + legacy.get(family, "") for family, name in FAMILIES.items()}
    return {
        "dropping": [family for family, text in shown.items() if any(drops.search(text) for drops in DROPS.values())],
        "accepting": [family for family, text in shown.items() if CHAIN in text],
        "ufw": any(UFW.search(text) for text in shown.values()) and "ENABLED=yes" in ufw.splitlines(),
        "firewalld": bool(re.search(r"^table inet firewalld \{", chains, re.MULTILINE)),
    }


def _filter(chains: str, family: str) -> str:
    found = re.search(rf"^table {family} filter \{{\n.*?^\}}", chains, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""
