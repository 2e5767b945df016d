# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Input that the kernel would accept though it can never work, and the sentences that refuse it. Pure.

Every function takes who is addressed (a host or a peer), what the value is called, and the value; it returns the value in
canonical form or raises Refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse

# dev_valid_name() also takes spaces' neighbours, templates and percent signs; ours are names that no shell or template can mistake.
DEVICE_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,14}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
LENGTH = re.compile(r"[0-9]{1,3}")  # str.isdigit() takes digits of every script, which others do not


def valid_device(who: str, what: str, value: str) -> str:
    """The name of a network device."""
    if not DEVICE_NAME.fullmatch(value):
        raise refuse(who, what, repr(value), "expected a device name of at most 15 lower-case letters, digits, '.', '_' or '-'")
    return value


def valid_mac(who: str, what: str, value: str) -> str:
    """A unicast MAC, in lower case."""
    mac = valid_fdb_mac(who, what, value)
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise refuse(who, what, value, "expected a unicast MAC, neither multicast nor all zero")
    return mac


def valid_fdb_mac(who: str, what: str, value: str) -> str:
    """A MAC that an fdb entry can be for: a unicast one, or one that is flooded (all zero, or multicast)."""
    mac = value.lower()
    if not MAC.fullmatch(mac):
        raise refuse(who, what, repr(value), "expected a MAC like 02:f1:ac:14:01:00")
    return mac


def valid_address(who: str, what: str, value: str) -> str:
    """An IPv4 or IPv6 address that a node can have."""
    address = _parsed(who, what, value)
    if _nobodys(address) or value == "255.255.255.255":
        raise refuse(who, what, value, "expected the unicast address of a node")
    return str(address)


def valid_subnet(who: str, what: str, value: str) -> str:
    """A network that a route can be for: no host bits, and neither everything nor multicast."""
    address, slash, length = value.partition("/")
    base = _parsed(who, what, address)
    if not slash or not LENGTH.fullmatch(length) or not 0 < int(length) <= base.max_prefixlen or _nobodys(base):
        raise refuse(who, what, repr(value), "expected a network of unicast addresses with its prefix length, like 172.20.1.0/24")
    network = ip_network(f"{base}/{int(length)}", strict=False)
    if network.network_address != base:
        raise refuse(who, what, value, f"it has host bits: write {network}")
    return str(network)


def valid_prefix(who: str, what: str, value: str) -> str:
    """An address with its prefix length, as `ip addr` takes it."""
    address, slash, length = value.partition("/")
    canonical = valid_address(who, what, address)
    if not slash or not LENGTH.fullmatch(length) or int(length) > ip_address(canonical).max_prefixlen:
        raise refuse(who, what, repr(value), "expected an address with its prefix length, like 172.20.1.0/32")
    return f"{canonical}/{int(length)}"


def valid_number(who: str, what: str, value: int, low: int, high: int) -> int:
    """A whole number from low to high."""
    if not low <= value <= high:
        raise refuse(who, what, value, f"expected a number from {low} to {high}")
    return value


def _parsed(who: str, what: str, value: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(value)
    except ValueError:
        raise refuse(who, what, repr(value), "expected an IPv4 or IPv6 address like 198.51.100.1") from None
    if _leading_zeros(value) or "%" in value:
        raise refuse(who, what, repr(value), f"leading zeros and zones are not accepted: write {str(address).partition('%')[0]}")
    return address


def _nobodys(address: IPv4Address | IPv6Address) -> bool:
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return address.is_unspecified or address.is_loopback or address.is_multicast or mapped


def _leading_zeros(value: str) -> bool:
    """Before Python 3.9.5 ipaddress took 010.0.0.1 for 10.0.0.1, where inet_aton(3) takes it for 8.0.0.1."""
    return ":" not in value and any(len(part) > 1 and part.startswith("0") for part in value.split("."))
