# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a ledger is: a file of the controller, or keys in etcd under a prefix. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import INVENTORY

LEDGER = "podnet_ledger"
PREFIX = "/coreos.com/network"  # flanneld's --etcd-prefix, where it is not given
PORT = 2379
URL = re.compile(r"(etcds?)://([^/?#]+)((?:/[\w.-]+)*)/?", re.ASCII)
ENDPOINT = re.compile(r"([a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)
EXPECTED = "expected a path, or etcd://host:2379/prefix, etcds:// for TLS, with further hosts after commas"


class EtcdPlace(NamedTuple):
    """A prefix of keys, and who serves them. An endpoint is host:port, as in a URL."""

    endpoints: tuple[str, ...]
    prefix: str
    tls: bool

    def __str__(self) -> str:
        return f"etcd{'s' if self.tls else ''}://{','.join(self.endpoints)}{self.prefix}"


def etcd_place(value: str) -> EtcdPlace | None:
    """The place that such a URL names, None for a path. Raises Refused for another URL, and does not repeat one that has a password."""
    if "://" not in value:
        return None
    if "@" in value:
        raise refuse(INVENTORY, LEDGER, "a URL with a user", "give podnet_etcd_user and podnet_etcd_password instead, which are not shown")
    found = URL.fullmatch(value)
    if not found:
        raise _refused(value)
    scheme, hosts, prefix = found.groups()
    return EtcdPlace(tuple(_endpoint(value, host) for host in hosts.split(",")), prefix or PREFIX, scheme == "etcds")


def located(value: str, absolute: Callable[[str], str]) -> str:
    """The one name of a ledger during a run: its absolute path, or its URL in full."""
    place = etcd_place(value)
    return str(place) if place else absolute(value)


def _endpoint(url: str, text: str) -> str:
    found = ENDPOINT.fullmatch(text)
    port = int(found[2] or PORT) if found else 0
    if not found or not 0 < port < 1 << 16:
        raise _refused(url)
    return f"{found[1].lower()}:{port}"


def _refused(url: str) -> Refused:
    return refuse(INVENTORY, LEDGER, url if url.isprintable() else repr(url), EXPECTED)
