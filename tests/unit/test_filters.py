# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters as templates call them, and their documentation. I/O: reads the plugins' files, runs ansible-doc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.podnet.baremetal.plugins.filter.podnet import FilterModule
from ansible_collections.podnet.baremetal.plugins.module_utils import _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Network, plan

CHECKOUT = Path(__file__).resolve().parents[2]
FILTERS = FilterModule().filters()
LEDGER = _plan.document_of(
    plan(None, Network.of("172.20.0.0/16"), [Host.of("node1", "198.51.100.1"), Host.of("node2", "198.51.100.2", mac="fe:00:00:00:00:02")])
)
PEER = {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "fe:00:00:00:00:02"}


def test_names_get_subnets_and_keep_those_that_they_have() -> None:
    pod_subnets = FILTERS["pod_subnets"]
    assert pod_subnets(["c", "a", "b"], "172.20.0.0/16") == {"a": "172.20.0.0/24", "b": "172.20.1.0/24", "c": "172.20.2.0/24"}
    assert pod_subnets(["a", "b"], "172.20.0.0/16", {"b": "172.20.0.0/24", "gone": "172.20.1.0/24"}) == {
        "a": "172.20.2.0/24",
        "b": "172.20.0.0/24",
    }
    assert pod_subnets(["a", "b"], "172.20.0.0/16", prefix=25) == {"a": "172.20.0.0/25", "b": "172.20.0.128/25"}
    assert pod_subnets(["a"], ["172.20.0.0/16", "2001:db8:244::/48"]) == {"a": ["172.20.0.0/24", "2001:db8:244::/64"]}


def test_one_subnet_says_what_hangs_on_it() -> None:
    found = [FILTERS[name]("172.20.1.0/24") for name in ("vtep_mac", "vtep_address", "pod_gateway")]
    assert found == ["02:f1:ac:14:01:00", "172.20.1.0", "172.20.1.1"]


def test_a_ledger_says_who_the_peers_are_and_the_commands_that_reach_them() -> None:
    peers = FILTERS["overlay_peers"](LEDGER, "node1")
    assert peers == [PEER]
    commands = FILTERS["iproute2"](peers, "flannel.1")
    assert [command.split()[:5] for command in commands] == [
        ["ip", "neigh", "replace", "172.20.1.0", "lladdr"],
        ["bridge", "fdb", "replace", "fe:00:00:00:00:02", "dev"],
        ["ip", "route", "replace", "172.20.1.0/24", "via"],
    ]


def test_flannels_files_come_out_as_flannel_writes_them() -> None:
    golden = "FLANNEL_NETWORK=172.20.0.0/16\nFLANNEL_SUBNET=172.20.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
    assert FILTERS["subnet_env"](PEER, "172.20.0.0/16", 1450, masquerade="false") == golden
    assert FILTERS["subnet_env"](["172.20.1.0/24"], "172.20.0.0/16", 1450, masquerade=False) == golden
    conf = FILTERS["net_conf"]("172.20.0.0/16", 24, port=4789, direct_routing="no")
    assert conf == {"Network": "172.20.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1, "Port": 4789}}


DUAL = ["10.244.0.0/16", "fd00:10:244::/48"]
GOLDEN = CHECKOUT / "tests" / "golden" / "dual"


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
def test_flannels_files_of_a_dual_stack_node_come_out_as_flannel_writes_them(node: str) -> None:
    delegate = json.loads((GOLDEN / f"{node}.delegate.json").read_text())
    subnets = [ranges[0]["subnet"] for ranges in delegate["ipam"]["ranges"]]
    assert FILTERS["subnet_env"](subnets, DUAL, 1450) == (GOLDEN / f"{node}.subnet.env").read_text()
    recorded = json.loads((GOLDEN / "etcd-keys.txt").read_text().splitlines()[1])
    assert FILTERS["net_conf"](DUAL) == {**recorded, "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472}}


def test_a_dual_stack_ledger_says_which_peers_are_reached_through_which_device() -> None:
    hosts = [Host.of(f"node{n}", [f"198.51.100.{n}", f"2001:db8::{n}"]) for n in (1, 2)]
    peers = FILTERS["overlay_peers"](_plan.document_of(plan(None, Network.of(DUAL), hosts)), "node1")
    assert [(peer["node"], peer["underlay"]) for peer in peers] == [("node2", "198.51.100.2"), ("node2", "2001:db8::2")]
    assert FILTERS["iproute2"](peers, device6="flannel-v6.1") == [
        "ip neigh replace 10.244.1.0 lladdr 02:f1:0a:f4:01:00 dev flannel.1 nud permanent",
        "ip neigh replace fd00:10:244:1:: lladdr 02:f1:02:44:00:01 dev flannel-v6.1 nud permanent",
        "bridge fdb replace 02:f1:0a:f4:01:00 dev flannel.1 dst 198.51.100.2 self permanent",
        "bridge fdb replace 02:f1:02:44:00:01 dev flannel-v6.1 dst 2001:db8::2 self permanent",
        "ip route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink proto 86",
        "ip route replace fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel-v6.1 onlink proto 86",
    ]


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("pod_subnets", (["a"], "172.20.0.1/16"), "pod_subnets: podnet_cluster_cidr is 172.20.0.1/16: it has bits set"),
        ("pod_subnets", (["a", "a"], "172.20.0.0/16"), "a: the host's name is a: a is the same name"),
        ("pod_subnets", (["a"], "172.20.0.0/16", {"b": "172.21.0.0/24"}), "pod_subnets: .* it leaves out 172.21.0.0/24 of b"),
        ("vtep_mac", ("172.20.1.0",), "vtep_mac: the pod subnet is 172.20.1.0: expected a network"),
        ("vtep_address", ("",), "vtep_address: the pod subnet is '': expected a network"),
        ("pod_gateway", (None,), "pod_gateway: the pod subnet is None: expected a network"),
        ("overlay_peers", ({}, "node1"), "the ledger: the document is without generation"),
        ("overlay_peers", (LEDGER, "node3"), "node3: its lease is missing: the ledger has 2 active nodes"),
        ("subnet_env", ("172.20.1.0/24", "172.30.0.0/16", 1450), "subnet_env: .* the pod subnet 172.20.1.0/24 is outside of it"),
        ("net_conf", ("172.20.0.0/16", 31), "net_conf: podnet_node_prefix is 31: expected 17 to 30"),
        ("iproute2", ([{**PEER, "mac": "01:00:5e:00:00:01"}],), "peer node2: mac is 01:00:5e:00:00:01"),
    ],
)
def test_a_wrong_input_is_refused_in_one_sentence(name: str, given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^{sentence}"):
        FILTERS[name](*given)


def test_each_filter_has_its_documentation_and_each_documentation_its_filter() -> None:
    documents = {path.stem: yaml.safe_load(path.read_text()) for path in (CHECKOUT / "plugins" / "filter").glob("*.yml")}
    assert documents.keys() == FILTERS.keys()
    for name, document in documents.items():
        assert document["DOCUMENTATION"]["name"] == name
        assert f"podnet.baremetal.{name}" in document["EXAMPLES"]


def test_ansible_doc_renders_each_filter() -> None:
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-doc"), "--json", "-t", "filter"]
    command += [f"podnet.baremetal.{name}" for name in FILTERS]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
    }
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert len(json.loads(done.stdout)) == len(FILTERS)
