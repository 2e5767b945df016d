# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running cluster as its sources tell of it: recorded ones, those that disagree, and properties over random ones. Reads golden files."""

from __future__ import annotations

import json
import random
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._adopt import (
    MAC,
    SUBNET,
    UNDERLAY,
    Claim,
    Cluster,
    Fact,
    adopted,
    etcd_claims,
    found_claims,
    kubernetes_claims,
    warnings,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._info import subnet_env_of
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import line_changes, parse, text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Lease, Ledger, Network, plan, vtep_mac
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = Path(__file__).parent.parent / "golden"  # recorded from flanneld v0.28.9
NO_SUBNET = "no source knows their pod subnets: site.yml gives them free ones, so adopt again first where they have some"
NODES = ("node1", "node2", "node3")
RECORDED = Network.of("10.244.0.0/16")
BOTH = Network.of(["10.244.0.0/16", "fd00:10:244::/48"])
# case: the range, and of each node the pod subnets and the MAC of flannel.1
CASES: dict[str, tuple[Network, Sequence[tuple[tuple[str, ...], str]]]] = {
    "vxlan": (
        RECORDED,
        [
            (("10.244.97.0/24",), "d6:02:2d:21:82:55"),
            (("10.244.3.0/24",), "5a:98:46:fc:8e:ec"),
            (("10.244.76.0/24",), "c6:79:f4:4c:3a:b6"),
        ],
    ),
    "direct": (
        RECORDED,
        [
            (("10.244.90.0/24",), "da:11:d0:90:9d:3c"),
            (("10.244.75.0/24",), "7a:b9:e8:49:3b:bb"),
            (("10.244.2.0/24",), "a6:26:cc:be:1c:05"),
        ],
    ),
    "dual": (
        BOTH,
        [
            (("10.244.9.0/24", "fd00:10:244:12::/64"), "e2:c9:37:6e:f7:7d"),
            (("10.244.45.0/24", "fd00:10:244:54::/64"), "da:d0:88:de:9a:5a"),
            (("10.244.7.0/24", "fd00:10:244:64::/64"), "96:cd:68:24:e8:3a"),
        ],
    ),
}
KUBE = [
    (("10.244.0.0/24",), "76:6b:67:40:a0:c6"),
    (("10.244.1.0/24",), "ea:48:43:a6:a0:1f"),
    (("10.244.2.0/24",), "6e:74:ee:7f:03:8b"),
]


def hosts(*names: str, case: str = "") -> tuple[Host, ...]:
    """Hosts with the addresses of the recordings: node1 has 198.18.0.11, and in dual stack 2001:db8:18::11."""
    more = [[f"2001:db8:18::{10 + int(name[-1])}"] if case == "dual" else [] for name in names]
    return tuple(Host.of(name, [f"198.18.0.{10 + int(name[-1])}", *others]) for name, others in zip(names, more))


def recorded(case: str, file: str) -> str:
    return (GOLDEN / case / file).read_text()


def found(case: str, node: str, network: Network) -> list[Claim]:
    """The claims of what overlay_info finds on a recorded node."""
    env = subnet_env_of(recorded(case, f"{node}.subnet.env"), node)
    devices = {name: device(case, node, name) for name in ("flannel.1", "flannel-v6.1")}
    said = {"device": devices["flannel.1"], "device6": devices["flannel-v6.1"], "subnet_env": env}
    return list(found_claims(node, said, network))


def device(case: str, node: str, name: str) -> dict[str, Any] | None:
    """A device of the recordings of `ip -d link` and `ip addr`, as overlay_info returns it."""
    links, addresses = (
        re.search(rf"^\d+: {re.escape(name)}: .*?(?=^\d+: |\Z)", recorded(case, f"{node}.{file}"), re.MULTILINE | re.DOTALL)
        for file in ("ip-d-link.txt", "ip-addr.txt")
    )
    if not links or not addresses:
        return None
    vni, local, port = re.findall(r"vxlan id (\d+) local (\S+) dev eth0 .*dstport (\d+)", links[0])[0]
    mac = re.findall(r"link/ether (\S+)", links[0])[0]
    own = re.findall(r"inet6? (\S+) scope global", addresses[0])
    return {"name": name, "vni": int(vni), "port": int(port), "local": local, "mac": mac, "addresses": own}


MACS6 = ("62:42:e1:2f:e1:4b", "6a:56:39:00:6a:9d", "4e:bb:1e:ed:13:ef")  # of flannel-v6.1 in the case dual


def leases(expected: Sequence[tuple[tuple[str, ...], str]], case: str = "") -> tuple[Lease, ...]:
    second = MACS6 if case == "dual" else (None,) * len(NODES)
    return tuple(
        Lease(name, subnets, host.underlay, mac, underlay6=host.underlay6, mac6=mac6)
        for name, host, (subnets, mac), mac6 in zip(NODES, hosts(*NODES, case=case), expected, second, strict=True)
    )


# --- what real flannel says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["nodes", "etcd-keys.json", "etcd-keys.txt"])
@pytest.mark.parametrize("case", CASES)
def test_a_recorded_cluster_is_adopted_as_it_is_from_each_source_alone(case: str, source: str) -> None:
    network, expected = CASES[case]
    claims = [claim for node in NODES for claim in found(case, node, network)]
    if source != "nodes":
        claims = etcd_claims(recorded(case, source), source)
    ledger = adopted(None, Cluster(network, hosts(*NODES, case=case), tuple(claims)))
    assert ledger == Ledger(1, network, leases(expected, case))
    assert parse(text(ledger).encode(), "the ledger") == ledger


@pytest.mark.parametrize("case", CASES)
def test_all_sources_of_a_recorded_cluster_agree(case: str) -> None:
    network, expected = CASES[case]
    claims = [claim for node in NODES for claim in found(case, node, network)]
    claims += [claim for file in ("etcd-keys.json", "etcd-keys.txt") for claim in etcd_claims(recorded(case, file), file)]
    ledger = adopted(None, Cluster(network, hosts(*NODES, case=case), tuple(claims)))
    assert ledger.leases == leases(expected, case)
    assert plan(ledger, network, hosts(*NODES, case=case)) == ledger, "what pod_subnet makes of it"


def test_an_underlay_address_that_no_pod_subnet_needs_is_left_out() -> None:
    host = hosts("node1", case="dual")
    for subnet, underlay in (("10.244.9.0/24", host[0].underlay), ("fd00:10:244:12::/64", host[0].underlay6)):
        network = Network.of("10.244.0.0/16" if "." in subnet else "fd00:10:244::/48")
        ledger = adopted(None, Cluster(network, host, (Claim("a", "node1", (Fact(SUBNET, 6 if ":" in subnet else 4, subnet),)),)))
        assert ledger.leases == (Lease("node1", (subnet,), underlay),)
        assert plan(ledger, network, host) == ledger


def test_a_second_underlay_address_that_the_inventory_leaves_out_is_a_conflict() -> None:
    claims = tuple(etcd_claims(recorded("dual", "etcd-keys.json"), "keys"))
    assert conflicts(None, Cluster(BOTH, hosts("node1", *NODES[1:]), claims))[0] == (
        "node1: underlay address (IPv6) is 2001:db8:18::11 in keys, none in the inventory: list both in podnet_underlay_address"
    )


def test_the_recorded_node_objects_are_adopted() -> None:
    document = json.loads(recorded("kube", "nodes.json"))
    assert adopted(None, kube(document)).leases == leases(KUBE)
    assert adopted(None, kube(document["items"][0], "node1")).leases == leases(KUBE)[:1], "one Node by itself"


def test_a_second_run_changes_nothing_and_site_neither() -> None:
    network, _leases = CASES["vxlan"]
    cluster = Cluster(network, hosts(*NODES), tuple(etcd_claims(recorded("vxlan", "etcd-keys.json"), "keys")))
    ledger = adopted(None, cluster)
    assert adopted(ledger, cluster) is ledger
    assert plan(ledger, network, hosts(*NODES)) == ledger, "what pod_subnet makes of it"


def kube(document: Any, *names: str) -> Cluster:
    return Cluster(RECORDED, hosts(*(names or NODES)), tuple(kubernetes_claims(json.dumps(document), "nodes.json")))


def test_a_lease_says_whether_it_was_adopted_now_or_before() -> None:
    before = adopted(None, Cluster(RECORDED, hosts("node1"), (ONE,)))
    after = adopted(before, Cluster(RECORDED, hosts("node1", "node2"), (ONE, TWO)))
    assert [lease.why for lease in (*before.leases, *after.leases)] == ["adopted", "kept", "adopted"]
    assert (before.generation, after.generation) == (1, 2)


def test_a_node_is_found_by_its_name_in_any_case_and_else_by_its_address() -> None:
    nodes = json.loads(recorded("kube", "nodes.json"))
    nodes["items"][0]["metadata"]["annotations"] = {}
    nodes["items"][1]["metadata"]["name"] = "ip-198-18-0-12"
    upper = tuple(host._replace(name=host.name.upper()) for host in hosts("node1", "node2", "node3"))
    ledger = adopted(None, replace(kube(nodes), hosts=upper))
    assert [(lease.name, lease.subnets, lease.state) for lease in ledger.leases] == [
        (f"NODE{n}", (f"10.244.{n - 1}.0/24",), "active") for n in (1, 2, 3)
    ]


def test_a_mac_that_follows_from_the_subnet_is_not_written_out() -> None:
    facts = (Fact(SUBNET, 4, "10.244.7.0/24"), Fact(MAC, 4, vtep_mac("10.244.7.0/24")))
    assert adopted(None, Cluster(RECORDED, hosts("node1"), (Claim("a", "node1", facts),))).leases[0].mac is None


def test_without_a_subnet_env_the_device_tells_the_subnet() -> None:
    network = Network.of("10.244.0.0/16", node_prefix=26)
    said = {"device": device("vxlan", "node1", "flannel.1"), "device6": None, "subnet_env": None}
    ledger = adopted(None, Cluster(network, hosts("node1"), tuple(found_claims("node1", said, network))))
    assert ledger.leases[0].subnets == ("10.244.97.0/26",)


def test_an_address_that_somebody_else_put_on_the_device_says_nothing() -> None:
    stray = {**(device("vxlan", "node1", "flannel.1") or {}), "addresses": ["10.244.97.0/32", "192.0.2.7/24", "10.244.5.1/24"]}
    said = {"device": stray, "subnet_env": None}
    ledger = adopted(None, Cluster(RECORDED, hosts("node1"), tuple(found_claims("node1", said, RECORDED))))
    assert ledger.leases[0].subnets == ("10.244.97.0/24",)


def test_a_node_with_nothing_gets_nothing() -> None:
    nothing = {"device": None, "device6": None, "subnet_env": None}
    cluster = Cluster(RECORDED, hosts("node1"), tuple(found_claims("node1", nothing, RECORDED)), unreachable=("node1",))
    assert adopted(None, cluster) == Ledger(1, RECORDED, ())
    assert warnings(None, cluster) == [
        "node1: could not be reached, so only other sources speak for them.",
        f"node1: {NO_SUBNET}.",
    ]


def test_a_node_that_the_inventory_does_not_have_is_retired_with_a_warning_and_keeps_its_subnet() -> None:
    document = json.loads(recorded("kube", "nodes.json"))
    cluster = kube(document, "node1")
    ledger = adopted(None, cluster)
    assert [(lease.name, lease.state) for lease in ledger.leases] == [("node1", "active"), ("node2", "retired"), ("node3", "retired")]
    later = plan(ledger, RECORDED, [*cluster.hosts, Host.of("node4", "198.18.0.14")])
    assert later.leases[3].subnets == ("10.244.3.0/24",)
    (warning,) = warnings(ledger, cluster)
    assert warning.startswith("node2, node3: the inventory does not have them: the ledger keeps their pod subnets as retired")


def test_a_key_in_etcd_without_a_host_is_called_by_its_address_or_as_other_sources_call_it() -> None:
    keys = tuple(etcd_claims(recorded("vxlan", "etcd-keys.txt"), "keys"))
    strange = adopted(None, Cluster(RECORDED, hosts("node1", "node2"), keys))
    assert [(lease.name, lease.state) for lease in strange.leases] == [
        ("198.18.0.13", "retired"),
        ("node1", "active"),
        ("node2", "active"),
    ]
    assert adopted(strange, Cluster(RECORDED, hosts("node1", "node2"), keys)) is strange
    named = Claim("nodes.json", "old3", (Fact(UNDERLAY, 4, "198.18.0.13"),))
    assert [lease.name for lease in adopted(None, Cluster(RECORDED, hosts("node1", "node2"), (*keys, named))).leases][2] == "old3"


def test_a_lease_without_a_known_mac_is_warned_of() -> None:
    cluster = Cluster(RECORDED, hosts("node1"), (Claim("nodes.json", "node1", (Fact(SUBNET, 4, "10.244.7.0/24"),)),))
    assert warnings(None, cluster) == [
        "node1: no source knows the MACs of their VTEPs, so they get those that follow from their pod subnets."
    ]


# --- what stands against it -------------------------------------------------------------------------------------------------


def claim(source: str, node: str, subnet: str = "", underlay: str = "", mac: str = "", **settings: str) -> Claim:
    given = ((SUBNET, subnet), (UNDERLAY, underlay), (MAC, mac))
    facts = [Fact(what, 4, value) for what, value in given if value]
    return Claim(source, node, (*facts, *(Fact(what, 0, value) for what, value in settings.items())))


ONE = claim("a", "node1", "10.244.1.0/24", "198.18.0.11", "02:00:00:00:00:01")
TWO = claim("a", "node2", "10.244.2.0/24", "198.18.0.12", "02:00:00:00:00:02")
CONFLICTS: list[tuple[str, list[Claim], list[str]]] = [
    (
        "two sources disagree on a subnet",
        [ONE, claim("b", "node1", "10.244.9.0/24")],
        ["node1: pod subnet is 10.244.1.0/24 in a, 10.244.9.0/24 in b"],
    ),
    (
        "two sources disagree on a MAC",
        [ONE, claim("b", "node1", mac="02:00:00:00:00:09"), *(claim(name, "node1", mac="02:00:00:00:00:01") for name in "fedc")],
        ["node1: VTEP MAC is 02:00:00:00:00:01 in a and c and d and e and f, 02:00:00:00:00:09 in b"],
    ),
    (
        "a source and the inventory disagree on an underlay address",
        [ONE, claim("b", "node1", underlay="192.0.2.9")],
        ["node1: underlay address is 192.0.2.9 in b, 198.18.0.11 in a and the inventory"],
    ),
    (
        "two nodes have one subnet",
        [ONE, TWO, claim("b", "node3", "10.244.1.128/25")],
        ["node3: pod subnet is 10.244.1.128/25 in b: it overlaps 10.244.1.0/24 of node1 in a"],
    ),
    (
        "two nodes have one MAC",
        [ONE, claim("b", "node2", "10.244.2.0/24", mac="02:00:00:00:00:01")],
        [
            "node1: VTEP MAC is 02:00:00:00:00:01 in a: node2 has the same",
            "node2: VTEP MAC is 02:00:00:00:00:01 in b: node1 has the same",
        ],
    ),
    (
        "a subnet is outside",
        [claim("a", "node1", "10.245.1.0/24"), claim("a", "node2", "10.244.2.1/24")],
        [
            "node1: pod subnet is 10.245.1.0/24 in a: it is outside of podnet_cluster_cidr 10.244.0.0/16",
            "node2: pod subnet is 10.244.2.1/24 in a: it has bits set beyond its length",
        ],
    ),
    (
        "a family that the inventory does not have",
        [Claim("a", "node1", (Fact(SUBNET, 6, "fd00:10:244:1::/64"),))],
        ["node1: pod subnet (IPv6) is fd00:10:244:1::/64 in a: it is outside of podnet_cluster_cidr 10.244.0.0/16"],
    ),
    (
        "a node that no source has an address for",
        [claim("a", "node9", "10.244.9.0/24")],
        ["node9: no source knows its underlay address: add the host to the inventory"],
    ),
    (
        "another overlay than the inventory's",
        [claim("a", "node1", "10.244.1.0/24", backend="host-gw", VNI="100", port="4789")],
        [
            "node1: VNI is 1 in the inventory, 100 in a",
            "node1: backend is host-gw in a, vxlan in the inventory",
            "node1: port is 4789 in a, 8472 in the inventory",
        ],
    ),
    (
        "several nodes",
        [ONE, TWO, claim("b", "node2", "10.244.1.0/24"), claim("b", "node1", mac="02:00:00:00:00:08")],
        [
            "node1: VTEP MAC is 02:00:00:00:00:01 in a, 02:00:00:00:00:08 in b",
            "node2: pod subnet is 10.244.1.0/24 in b, 10.244.2.0/24 in a",
            "node2: pod subnet is 10.244.1.0/24 in b: it overlaps 10.244.1.0/24 of node1 in a",
        ],
    ),
]


def conflicts(ledger: Ledger | None, cluster: Cluster) -> list[str]:
    """The lines of the refusal."""
    with pytest.raises(Refused) as refused:
        adopted(ledger, cluster)
    head, *lines = str(refused.value).splitlines()
    assert head == f"{len(lines)} conflicts stand against adopting the cluster, and nothing was written:"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize(("claims", "lines"), [case[1:] for case in CONFLICTS], ids=[case[0] for case in CONFLICTS])
def test_conflicts_are_listed_line_by_line(claims: list[Claim], lines: list[str]) -> None:
    for order in (claims, claims[::-1]):
        assert conflicts(None, Cluster(RECORDED, hosts(*NODES), tuple(order))) == lines


def test_the_ledger_is_a_source_too_and_is_not_overruled() -> None:
    ledger = plan(None, RECORDED, hosts("node1", "node2"))
    cluster = Cluster(RECORDED, hosts("node1", "node2"), (ONE,))
    assert conflicts(ledger, cluster) == [
        "node1: VTEP MAC is 02:00:00:00:00:01 in a, 02:f1:0a:f4:00:00 in the ledger",
        "node1: pod subnet is 10.244.0.0/24 in the ledger, 10.244.1.0/24 in a",
        "node2: pod subnet is 10.244.1.0/24 in the ledger: it overlaps 10.244.1.0/24 of node1 in a",
    ]


def test_a_device_that_does_not_fit_its_subnet_env_is_a_conflict() -> None:
    env = subnet_env_of(recorded("vxlan", "node2.subnet.env"), "node1")
    said = {"device": device("vxlan", "node1", "flannel.1"), "device6": None, "subnet_env": env}
    assert conflicts(None, Cluster(RECORDED, hosts("node1"), tuple(found_claims("node1", said, RECORDED)))) == [
        "node1: pod subnet is 10.244.3.0/24 in subnet.env, 10.244.97.0/24 in flannel.1"
    ]


def test_what_a_host_has_is_its_own_even_with_the_address_of_another() -> None:
    both = (Host.of("Node1", "198.18.0.11"), Host.of("node2", "198.18.0.12"))
    assert conflicts(None, Cluster(RECORDED, both, (claim("flannel.1", "Node1", "10.244.1.0/24", "198.18.0.12"),))) == [
        "Node1: underlay address is 198.18.0.11 in the inventory, 198.18.0.12 in flannel.1",
        "Node1: underlay address is 198.18.0.12 in flannel.1: node2 has the same",
        "node2: underlay address is 198.18.0.12 in the inventory: Node1 has the same",
    ]


def test_a_pin_of_the_inventory_is_a_claim() -> None:
    pinned = Host.of("node1", "198.18.0.11", subnet="10.244.7.0/24", mac="02:00:00:00:00:07")
    assert conflicts(None, Cluster(RECORDED, (pinned,), (ONE,))) == [
        "node1: VTEP MAC is 02:00:00:00:00:01 in a, 02:00:00:00:00:07 in the inventory",
        "node1: pod subnet is 10.244.1.0/24 in a, 10.244.7.0/24 in the inventory",
    ]


def test_a_renamed_host_is_not_adopted_in_silence() -> None:
    ledger = Ledger(1, RECORDED, (Lease("old1", ("10.244.1.0/24",), "198.18.0.11", "02:00:00:00:00:01"),))
    lines = conflicts(ledger, Cluster(RECORDED, hosts("node1"), (ONE,)))
    assert "node1: underlay address is 198.18.0.11 in a and the inventory: old1 has the same" in lines
    assert "old1: underlay address is 198.18.0.11 in the ledger: node1 has the same" in lines


def test_a_renamed_host_takes_its_lease_along_if_the_ledger_has_it_by_the_old_name() -> None:
    ledger = Ledger(1, RECORDED, (Lease("old1", ("10.244.1.0/24",), "198.18.0.11", "02:00:00:00:00:01"),))
    (node1,) = hosts("node1")
    cluster = Cluster(RECORDED, (node1.renamed("old1"),), (ONE,))
    after = adopted(ledger, cluster)
    assert after == Ledger(2, RECORDED, (replace(ledger.leases[0], name="node1"),))
    assert [change.command for change in line_changes(ledger, after)] == ["rename old1 node1 10.244.1.0/24"]
    assert adopted(after, cluster) == after, "said once more, it changes nothing"
    assert adopted(None, cluster).leases == after.leases, "nor where the ledger was lost"
    assert warnings(ledger, cluster) == []
    with pytest.raises(Refused, match=r"node1: podnet_renamed_from is old1: it was at 198\.18\.0\.99 and"):
        adopted(replace(ledger, leases=(replace(ledger.leases[0], underlay="198.18.0.99"),)), cluster)


BAD = [
    (kubernetes_claims, "{", "source: its content is no JSON: "),
    (kubernetes_claims, '{"items": [{}]}', "source: its content is no list of Nodes: expected what `kubectl get nodes -o json` prints."),
    (kubernetes_claims, "[1]", "source: its content is no list of Nodes"),
    (kubernetes_claims, "7", "source: its content is no list of Nodes"),
    (kubernetes_claims, '{"items": []}', "source: no Node in it has a pod subnet"),
    (
        kubernetes_claims,
        '{"metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.0.1/24"}}',
        "source: n: pod subnet is 10.244.0.1/24: it has",
    ),
    (
        kubernetes_claims,
        json.dumps({"metadata": {"name": "n", "annotations": {"flannel.alpha.coreos.com/backend-data": "{"}}}),
        "source: n: backend-data: its content is no JSON",
    ),
    (etcd_claims, "", "source: no lease of flannel is in it: expected what `etcdctl get --prefix /coreos.com/network` prints."),
    (
        etcd_claims,
        '{"kvs": [{"key": "%%%"}]}',
        "source: its content is no answer of etcd: expected what `etcdctl get --prefix -w json` prints.",
    ),
    (etcd_claims, '{"kvs": 7}', "source: its content is no answer of etcd"),
    (etcd_claims, "/n/subnets/10.244.3.0-24\n7\n", "source: /n/subnets/10.244.3.0-24: its value is 7: expected an object"),
    (
        etcd_claims,
        '/n/subnets/10.244.3.9-24\n{"PublicIP": "192.0.2.1"}\n',
        "pod subnet is 10.244.3.9/24: it has host bits: write 10.244.3.0/24.",
    ),
    (etcd_claims, '/n/subnets/10.244.3.0-24\n{"PublicIP": "nobody"}\n', "underlay address is 'nobody': expected an IPv4 or IPv6 address"),
]


@pytest.mark.parametrize(("read", "given", "sentence"), BAD)
def test_a_file_that_is_something_else_is_one_sentence(read: Any, given: str, sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)):
        read(given, "source")


def test_a_flannel_below_another_prefix_and_other_keys_beside_it_are_read() -> None:
    keys = {
        "/kube/flannel/config": '{"Network": "10.244.0.0/16"}',
        "/kube/flannel/subnets/10.244.3.0-24": json.dumps({"PublicIP": "198.18.0.11", "BackendType": "vxlan", "BackendData": None}),
        "/kube/flannel/subnets/10.244.3.0-24/else": "1",
    }
    pairs = [{"key": b64encode(key.encode()).decode(), "value": b64encode(value.encode()).decode()} for key, value in keys.items()]
    (only,) = etcd_claims(json.dumps({"kvs": pairs}), "keys")
    assert only.facts == (Fact(SUBNET, 4, "10.244.3.0/24"), Fact(UNDERLAY, 4, "198.18.0.11"), Fact("backend", 0, "vxlan"))


def test_a_configuration_of_several_lines_among_the_keys_is_passed_over() -> None:
    lines = recorded("vxlan", "etcd-keys.txt").splitlines()
    spread = json.dumps(json.loads(lines[1]), indent=2)
    assert etcd_claims("\n".join([lines[0], spread, *lines[2:]]), "keys") == etcd_claims(recorded("vxlan", "etcd-keys.txt"), "keys")


# --- whatever the sources are -----------------------------------------------------------------------------------------------

numbers = st.integers(min_value=1, max_value=6)
claims_of_anything = st.lists(
    st.builds(
        lambda source, node, subnet, underlay, mac: claim(
            source,
            node and f"node{node}",
            f"10.244.{subnet}.0/24" if subnet else "",
            f"198.18.0.{10 + underlay}" if underlay else "",
            f"02:00:00:00:00:{mac:02x}" if mac else "",
        ),
        st.sampled_from("abc"),
        st.one_of(st.just(""), numbers),
        st.one_of(st.just(0), numbers),
        st.one_of(st.just(0), numbers),
        st.one_of(st.just(0), numbers),
    ),
    max_size=8,
)


def outcome(claims: Iterable[Claim], ledger: Ledger | None = None) -> Ledger | str:
    try:
        return adopted(ledger, Cluster(RECORDED, hosts(*NODES), tuple(claims)))
    except Refused as refused:
        return str(refused)


@given(claims_of_anything, st.randoms(use_true_random=False))
def test_the_order_of_sources_means_nothing(claims: list[Claim], chance: random.Random) -> None:
    shuffled = list(claims)
    chance.shuffle(shuffled)
    assert outcome(shuffled) == outcome(claims)


@given(claims_of_anything)
def test_what_is_adopted_is_a_sound_ledger_that_says_what_was_claimed_and_a_second_run_keeps_it(claims: list[Claim]) -> None:
    ledger = outcome(claims)
    if isinstance(ledger, str):
        return
    assert parse(text(ledger).encode(), "the ledger") == ledger
    claimed = {value for each in claims for value in each.values(SUBNET)}
    assert {subnet for lease in ledger.leases for subnet in lease.subnets} == claimed
    assert outcome(claims, ledger) is ledger
    assert {lease.name for lease in ledger.leases if lease.state == "active"} <= set(NODES)
