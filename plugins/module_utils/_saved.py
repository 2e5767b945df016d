# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links, addresses, rules and routes of a node as iproute2 tells them, and the commands from one state to another. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._blocks import block_of, blocks_of, last_of

# ip-route(8), TYPE: what may stand before the destination. Those of the table `local` are the kernel's own.
TYPES = {"blackhole", "prohibit", "throw", "unicast", "unreachable"}
# What iproute2 prints of a route and does not take as input, or what the kernel refuses beside the gateway, as it does `nhid`.
SHOWN = re.compile(r" (?:nhid \d+|error -?\d+|dead|linkdown|offload|trap|rt_offload|rt_trap|rt_offload_failed)(?= |$)")
EXPIRY = re.compile(r" expires (\d+)sec")


class Setting(NamedTuple):
    """One thing of a node's network: the links it needs, what it is, and the commands that make it and, where one can, take it away."""

    links: list[str]
    text: str
    present: str
    absent: str


def links(listing: str) -> Iterator[Setting]:
    """The links of what `ip -json address show` prints."""
    for link in json.loads(listing):
        command = f"ip link set dev {link['ifname']} mtu {link['mtu']} {'up' if 'UP' in link['flags'] else 'down'}"
        yield Setting([link["ifname"]], command, command, "")


def addresses(listing: str, ranges: Sequence[str]) -> Iterator[Setting]:
    """The addresses of the same listing that are not within the ranges. Temporary ones (RFC 8981) are the kernel's to make."""
    for link in json.loads(listing):
        for address in link["addr_info"]:
            if not (address.get("temporary") or within(address["local"], ranges)):
                yield _address(link["ifname"], address)


def rules(listing: str, family: str) -> Iterator[Setting]:
    """The rules of what `ip rule show` prints; family is -4 or -6."""
    for line in listing.splitlines():
        preference, rule = re.sub(r" \[\w+\]", "", line).split(":", 1)
        words = f"pref {preference} {rule.strip()}"
        yield Setting([], f"ip {family} rule add {words}", f"ip {family} rule add {words}", f"ip {family} rule del {words}")


def routes(listing: str, family: str, ranges: Sequence[str]) -> list[Setting]:
    """The routes of what `ip -oneline route show table all` prints that are not within the ranges, those without a gateway first."""
    lines = [" ".join(SHOWN.sub("", line.replace("\\", " ")).split()) for line in listing.splitlines()]
    ours = [line for line in lines if " table local" not in line and not within(_destination(line), ranges)]
    return [_route(line, family) for line in sorted(ours, key=lambda line: " via " in line)]


def within(network: str, ranges: Sequence[str]) -> bool:
    """Whether a destination or an address lies in one of the ranges."""
    if network == "default":
        return False
    family, first, length = block_of(network)
    return any(family == each[0] and each[1] <= first and last_of((family, first, length)) <= last_of(each) for each in blocks_of(ranges))


def differences(saved: Sequence[Setting], now: Sequence[Setting]) -> list[str]:
    """The commands from what is there now to what was saved: first what came since goes, then what went comes back.

    Only for links that are there both times: what pods or others brought since is theirs, and what needs a link that went cannot come back.
    """
    kept = {link for setting in saved for link in setting.links} & {link for setting in now for link in setting.links}
    wanted, found = ([each for each in settings if kept.issuperset(each.links)] for settings in (saved, now))
    gone = {each.text for each in found} - {each.text for each in wanted}
    lacking = {each.text for each in wanted} - {each.text for each in found}
    away = [each.absent for each in reversed(found) if each.absent and each.text in gone]
    return away + [each.present for each in wanted if each.text in lacking]


def _address(link: str, found: dict[str, Any]) -> Setting:
    peer = f" peer {found['address']}" if "address" in found else ""
    words = [f"{found['local']}{peer}/{found['prefixlen']}"]
    words += [f"{word} {found[word]}" for word in ("broadcast", "scope", "label", "metric") if word in found]
    words += [word for word in ("mngtmpaddr", "noprefixroute") if found.get(word)]
    text = f"ip addr replace {' '.join(words)} dev {link}"
    lifetimes = f" valid_lft {found['valid_life_time']} preferred_lft {found['preferred_life_time']}" if found.get("dynamic") else ""
    at_once = " nodad" if ":" in found["local"] else ""  # it was checked before (RFC 4862, 5.4), and is needed now
    return Setting([link], text, f"{text}{at_once}{lifetimes}", f"ip addr del {words[0]} dev {link}")


def _route(line: str, family: str) -> Setting:
    text, given = EXPIRY.sub("", line), EXPIRY.sub(r" expires \1", line)
    # An IPv6 route that replaces takes the place of another link's, such as fe80::/64, where it has the same metric (fib6_add_rt2node()).
    command = f"ip {family} route append {given}"
    return Setting(re.findall(r" dev (\S+)", line), text, command, f"ip {family} route del {text}")


def _destination(line: str) -> str:
    words = line.split()
    return words[1] if words[0] in TYPES else words[0]
