# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flannel's keys as real flannel wrote them, and as this collection does. I/O: reads the recordings."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Lease, Ledger, Network, plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import (
    FlannelLease,
    config_of,
    flannel_leases,
    lease_of,
    networks_in,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PREFIX = "/coreos.com/network/"


def recorded(case: str) -> dict[str, str]:
    """The keys below flannel's prefix, with their values."""
    pairs = json.loads((GOLDEN / case / "etcd-keys.json").read_text())["kvs"]
    texts = {b64decode(pair["key"]).decode(): b64decode(pair["value"]).decode() for pair in pairs}
    assert all(key.startswith(PREFIX) for key in texts)
    return {key.removeprefix(PREFIX): value for key, value in texts.items()}


def recorded_leases(case: str) -> dict[str, FlannelLease]:
    leases = {key: lease_of(key, value) for key, value in recorded(case).items()}
    return {key: lease for key, lease in leases.items() if lease}


@pytest.mark.parametrize("case", ["vxlan", "dual"])
def test_what_flannel_wrote_is_read_and_written_the_same_byte_for_byte(case: str) -> None:
    keys, leases = recorded(case), recorded_leases(case)
    assert set(keys) - set(leases) == {"config"}
    assert {lease.key: lease.value for lease in leases.values()} == {key: keys[key] for key in leases}
    assert all(len(lease.subnets) == len(lease.underlays) == len(lease.macs) == {"vxlan": 1, "dual": 2}[case] for lease in leases.values())


@pytest.mark.parametrize(("case", "ranges"), [("vxlan", ["10.244.0.0/16"]), ("dual", ["10.244.0.0/16", "fd00:10:244::/48"])])
def test_a_ledger_of_the_recorded_nodes_comes_to_the_recorded_keys(case: str, ranges: list[str]) -> None:
    leases = enumerate(recorded_leases(case).values(), 1)
    hosts = [Host.of(f"node{n}", list(lease.underlays), list(lease.subnets), mac=list(lease.macs)) for n, lease in leases]
    ledger = plan(None, Network.of(ranges), hosts)
    written = {lease.key: lease.value for lease in flannel_leases(ledger, 1).values()}
    assert written == {key: value for key, value in recorded(case).items() if key != "config"}


@pytest.mark.parametrize("case", ["vxlan", "dual"])
def test_the_ranges_of_a_recorded_configuration_are_those_of_ours(case: str) -> None:
    ranges = ["10.244.0.0/16", "fd00:10:244::/48"][: 2 if case == "dual" else 1]
    ours = config_of(Ledger(1, Network.of(ranges), ()), 1, 8472)
    assert networks_in(recorded(case)["config"]) == networks_in(ours) == ranges
    assert '"Backend":{"Type":"vxlan","VNI":1,"Port":8472}' in ours


@pytest.mark.parametrize(
    ("lease", "key", "value"),
    [
        (
            Lease("a", ("172.20.1.0/24",), "198.51.100.1"),
            "subnets/172.20.1.0-24",
            '{"PublicIP":"198.51.100.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"02:f1:ac:14:01:00"}}',
        ),
        (
            Lease("a", ("172.20.1.0/24",), "198.51.100.1", state="retired"),
            "subnets/172.20.1.0-25",
            '{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"podnet"}',
        ),
        (
            Lease("a", ("2001:db8:244::/64", "172.20.1.0/24"), "198.51.100.1", state="retired"),
            "subnets/172.20.1.0-25&2001:db8:244::-65",
            '{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"podnet"}',
        ),
        (
            Lease("a", ("172.20.1.0/24",), "2001:db8::1"),
            "subnets/172.20.1.0-25",
            '{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"podnet"}',
        ),
    ],
    ids=["active", "retired", "retired, both families", "no IPv4 underlay"],
)
def test_a_lease_that_flanneld_cannot_reach_only_keeps_its_subnet(lease: Lease, key: str, value: str) -> None:
    found = flannel_leases(Ledger(1, Network.of("172.20.0.0/16"), (lease,)), 7)["a"]
    assert (found.key, found.value) == (key, value)
    assert lease_of(key, value) == found._replace(vni=found.vni if found.macs else 1)


def test_flannel_is_told_nothing_of_a_node_without_an_ipv4_subnet() -> None:
    assert flannel_leases(Ledger(1, Network.of("2001:db8:244::/48"), (Lease("a", ("2001:db8:244::/64",), "2001:db8::1"),)), 1) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("subnets/172.20.1.0-24", "no JSON"),
        ("subnets/172.20.1.0-24", "[]"),
        ("subnets/172.20.1.0-24", "{}"),
        ("subnets/172.20.1.0-24", '{"PublicIP":"nowhere"}'),
        ("subnets/172.20.1.1-24", '{"PublicIP":"198.51.100.1"}'),
        ("subnets/elsewhere", '{"PublicIP":"198.51.100.1"}'),
        ("config", '{"Network":"172.20.0.0/16"}'),
    ],
)
def test_what_is_no_lease_to_flannel_is_none_here(key: str, value: str) -> None:
    assert lease_of(key, value) is None


def test_a_configuration_that_flannel_cannot_read_names_no_range() -> None:
    assert [networks_in(text) for text in ("", "[]", '{"Network":1.5}', '{"Network":"here"}')] == [None] * 4
    assert networks_in('{"NETWORK":"172.20.0.0/16"}') == ["172.20.0.0/16"]
