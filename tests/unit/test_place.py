# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a ledger is: paths, URLs of etcd, and what is neither. No I/O."""

from __future__ import annotations

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import EtcdPlace, etcd_place, located


@pytest.mark.parametrize("path", ["podnet-ledger.json", "/srv/inventories/prod/podnet-ledger.json", "etcd:", "etcd/ledger.json"])
def test_a_path_is_no_place_in_etcd(path: str) -> None:
    assert etcd_place(path) is None
    assert located(path, lambda path: f"/srv/{path}") == f"/srv/{path}"


@pytest.mark.parametrize(
    ("url", "place", "canonical"),
    [
        ("etcd://192.0.2.1:2379/podnet", (("192.0.2.1:2379",), "/podnet", False), "etcd://192.0.2.1:2379/podnet"),
        ("etcds://etcd.Example.com/a/b-c/", (("etcd.example.com:2379",), "/a/b-c", True), "etcds://etcd.example.com:2379/a/b-c"),
        ("etcd://192.0.2.1", (("192.0.2.1:2379",), "/coreos.com/network", False), "etcd://192.0.2.1:2379/coreos.com/network"),
        (
            "etcd://192.0.2.1,192.0.2.2:4001,[2001:db8::3]/p",
            (("192.0.2.1:2379", "192.0.2.2:4001", "[2001:db8::3]:2379"), "/p", False),
            "etcd://192.0.2.1:2379,192.0.2.2:4001,[2001:db8::3]:2379/p",
        ),
    ],
)
def test_a_url_names_members_and_a_prefix(url: str, place: tuple[tuple[str, ...], str, bool], canonical: str) -> None:
    assert etcd_place(url) == EtcdPlace(*place)
    assert located(url, str.upper) == canonical
    assert located(canonical, str.upper) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:2379/p",
        "etcd:///p",
        "etcd://192.0.2.1:0/p",
        "etcd://192.0.2.1:65536/p",
        "etcd://192.0.2.1:x/p",
        "etcd://192.0.2.1,/p",
        "etcd://2001:db8::3/p",
        "etcd://192.0.2.1/p?q=1",
        "etcd://192.0.2.1//p",
        "etcd://192.0.2.1/p q",
        "etcd://192.0.2.1/p\n",
    ],
)
def test_another_url_is_refused_with_what_would_be_accepted(url: str) -> None:
    with pytest.raises(Refused, match=r"^the inventory: podnet_ledger is .*: expected a path, or etcd://host:2379/prefix") as refusal:
        etcd_place(url)
    assert "\n" not in str(refusal.value)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Refused, match="podnet_etcd_user and podnet_etcd_password") as refusal:
        etcd_place("etcd://podnet:canary@192.0.2.1/p")
    assert "canary" not in str(refusal.value)
