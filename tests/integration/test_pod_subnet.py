# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pod_subnet in playbooks: from an inventory alone, and nothing but the ledger. I/O: ansible-playbook, temporary directories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labs import Play, module_environment, play

MODULE = "podnet.baremetal.pod_subnet"
HOSTS: dict[str, dict[str, Any]] = {
    "node1": {"ansible_host": "198.51.100.1"},
    "node2": {"podnet_underlay_address": "198.51.100.{{ number }}", "number": 2, "ansible_host": "192.0.2.2"},
    "198.51.100.3": {},
}


@dataclass(frozen=True)
class Cluster:
    """An inventory of hosts that nobody can reach, and the ledger beside it."""

    directory: Path

    @property
    def ledger(self) -> Path:
        return self.directory / "podnet-ledger.json"

    def text(self) -> str | None:
        return self.ledger.read_text() if self.ledger.exists() else None

    def run(self, nodes: dict[str, dict[str, Any]], *arguments: str, then: Any = (), **options: Any) -> Play:
        first, *others = nodes or ("",)
        groups = {
            "kube_control_plane": {"hosts": {first: nodes[first]} if nodes else {}},
            "kube_node": {"hosts": {name: nodes[name] for name in others}},
            "etcd": {"hosts": {"bystander": {}}},
        }
        inventory = self.directory / "hosts.yml"
        inventory.write_text(json.dumps(groups))
        given = {
            "ledger": "{{ inventory_dir }}/podnet-ledger.json",
            "cluster_cidr": "172.20.0.0/16",
            "service_cidr": "10.68.0.0/16",
            **options,
        }
        task = {"name": "plan", MODULE: {k: v for k, v in given.items() if v is not None}, "run_once": True, "register": "plan"}
        plays = [{"hosts": "all", "gather_facts": False, "tasks": [task, *then]}]
        return play(plays, *arguments, inventory=inventory)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def subnets(outcome: Play) -> dict[str, list[str]]:
    return {name: lease["subnets"] for name, lease in outcome.succeeded().one("plan").result["leases"].items()}


def test_check_apply_check_apply(cluster: Cluster) -> None:
    would = cluster.run(HOSTS, "--check", "--diff").succeeded().one("plan")
    assert os.listdir(cluster.directory) == ["hosts.yml"]
    did = cluster.run(HOSTS, "--diff").succeeded().one("plan")
    text = cluster.text()
    assert sorted(os.listdir(cluster.directory)) == ["hosts.yml", "podnet-ledger.json"]
    would_again = cluster.run(HOSTS, "--check", "--diff").succeeded().one("plan")
    did_again = cluster.run(HOSTS, "--diff").succeeded().one("plan")

    assert [outcome.changed for outcome in (would, did, would_again, did_again)] == [True, True, False, False]
    assert (
        would.commands
        == did.commands
        == [
            "network 172.20.0.0/16",
            "lease 198.51.100.3 172.20.0.0/24 (new)",
            "lease node1 172.20.1.0/24 (new)",
            "lease node2 172.20.2.0/24 (new)",
        ]
    )
    assert would.diff == did.diff
    assert [line.strip().rstrip(",") for line in str(text).splitlines()[2:-2] if '"nodes"' not in line] == did.diff["after"].splitlines()
    assert cluster.text() == text
    assert {name: would.result[name] for name in ("leases", "network", "generation", "capacity")} == {
        name: did.result[name] for name in ("leases", "network", "generation", "capacity")
    }
    assert did.result["leases"]["node2"] == {
        "subnets": ["172.20.2.0/24"],
        "underlay": "198.51.100.2",
        "mac": "02:f1:ac:14:02:00",
        "gateways": ["172.20.2.1"],
        "vtep_addresses": ["172.20.2.0"],
        "state": "active",
        "why": "new",
    }
    assert did.result["capacity"] == {"total": 256, "taken": 3, "free": 253}
    assert [outcome.result["ledger"] for outcome in (did, would_again, did_again)] == [str(cluster.ledger)] * 3


def test_later_tasks_of_a_check_run_read_what_would_be(cluster: Cluster) -> None:
    peers = "{{ lookup('ansible.builtin.file', plan.ledger) | from_json | podnet.baremetal.overlay_peers('node1') }}"
    then = [{"name": "peers", "ansible.builtin.debug": {"msg": peers}, "run_once": True}]
    outcome = cluster.run(HOSTS, "--check", then=then).succeeded()
    assert [peer["node"] for peer in outcome.one("peers").result["msg"]] == ["198.51.100.3", "node2"]
    copy = outcome.one("plan").result["ledger"]
    assert not copy.startswith(str(cluster.directory))
    assert not os.path.exists(copy)  # removed by ansible at its end


def test_limit_and_the_order_of_the_inventory_give_the_same_plan(cluster: Cluster) -> None:
    whole = subnets(cluster.run(HOSTS, "--check"))
    assert subnets(cluster.run(HOSTS, "--check", "--limit", "node2")) == whole
    assert subnets(cluster.run(HOSTS, "--check", "--limit", "bystander")) == whole
    assert subnets(cluster.run(dict(reversed(HOSTS.items())), "--check")) == whole
    assert set(whole) == set(HOSTS)


def test_kubeaszs_name_for_the_control_plane_is_read_too(cluster: Cluster) -> None:
    (cluster.directory / "kubeasz.ini").write_text("[kube_master]\n198.51.100.1\n[kube_node]\n198.51.100.1\n198.51.100.2\n")
    task = {"name": "plan", MODULE: {"ledger": str(cluster.ledger), "cluster_cidr": "172.20.0.0/16"}, "run_once": True}
    outcome = play([{"hosts": "all", "gather_facts": False, "tasks": [task]}], inventory=cluster.directory / "kubeasz.ini")
    assert subnets(outcome) == {"198.51.100.1": ["172.20.0.0/24"], "198.51.100.2": ["172.20.1.0/24"]}


def test_a_node_joins_leaves_returns_and_is_released(cluster: Cluster) -> None:
    more = {**HOSTS, "node0": {"ansible_host": "198.51.100.4"}}
    cluster.run(HOSTS).succeeded()
    assert cluster.run(more).one("plan").commands == ["lease node0 172.20.3.0/24 (new)"]
    assert cluster.run(HOSTS).one("plan").commands == ["retire node0 172.20.3.0/24"]
    assert cluster.run(more).one("plan").commands == ["lease node0 172.20.3.0/24 (reused)"]
    active = cluster.run(more, state="absent", name="node0", cluster_cidr=None, service_cidr=None).one("plan")
    assert active.msg == "node0: its lease is active: only a retired lease can be released: take the host out of the inventory first."
    cluster.run(HOSTS).succeeded()
    before = cluster.text()
    for check in (["--check"], []):
        assert cluster.text() == before
        release = cluster.run(HOSTS, *check, state="absent", name="node0", cluster_cidr=None, service_cidr=None).succeeded().one("plan")
        assert release.commands == ["release node0 172.20.3.0/24"]
    assert not cluster.run(HOSTS, state="absent", name="node0", cluster_cidr=None, service_cidr=None).succeeded().changed
    assert not cluster.run(HOSTS).succeeded().changed


def test_a_new_name_is_a_new_node_with_a_warning_unless_the_host_says_which_it_was(cluster: Cluster) -> None:
    cluster.run(HOSTS).succeeded()
    before = cluster.text()
    others = {name: HOSTS[name] for name in HOSTS if name != "node1"}
    unsaid = cluster.run({**others, "worker1": HOSTS["node1"]}, "--check").succeeded()
    assert unsaid.one("plan").commands == ["retire node1 172.20.1.0/24", "lease worker1 172.20.3.0/24 (new)"]
    assert "the retired node1 with 172.20.1.0/24 had the same" in unsaid.one("plan").result["warnings"][0]
    assert "say podnet_renamed_from: node1." in unsaid.one("plan").result["warnings"][0]
    said = {**others, "worker1": {**HOSTS["node1"], "podnet_renamed_from": "{{ 'node' ~ 1 }}"}}
    assert cluster.text() == before
    assert cluster.run(said).succeeded().one("plan").commands == ["rename node1 worker1 172.20.1.0/24"]
    again = cluster.run(said).succeeded().one("plan")
    assert (again.changed, "warnings" in again.result) == (False, False)
    assert subnets(cluster.run({**others, "worker1": HOSTS["node1"]}))["worker1"] == ["172.20.1.0/24"]


def test_a_cluster_that_is_nearly_full_is_told_so_in_every_run(cluster: Cluster) -> None:
    for _time in range(2):
        result = (
            cluster.run(HOSTS, cluster_cidr="172.20.0.0/22", node_prefix=24, brief=True, reserved="172.20.3.0/24")
            .succeeded()
            .one("plan")
            .result
        )
        assert (result["capacity"], len(result["warnings"])) == ({"total": 4, "taken": 4, "free": 0}, 1)


def test_pins_and_sizes_are_variables_of_the_host(cluster: Cluster) -> None:
    hosts = {
        "node1": {**HOSTS["node1"], "podnet_pod_subnet": "172.20.{{ 3 * 3 }}.0/24"},
        "node2": {**HOSTS["node2"], "podnet_node_prefix": 26, "podnet_vtep_mac": "FE:00:00:00:00:02"},
    }
    leases = cluster.run(hosts).succeeded().one("plan").result["leases"]
    assert [(lease["subnets"], lease["mac"], lease["why"]) for lease in leases.values()] == [
        (["172.20.9.0/24"], "02:f1:ac:14:09:00", "pinned"),
        (["172.20.0.0/26"], "fe:00:00:00:00:02", "new"),
    ]


def test_hosts_can_be_given_instead(cluster: Cluster) -> None:
    hosts = [{"name": "b", "underlay": "198.51.100.8"}, {"name": "a", "underlay": "198.51.100.9", "subnet": ["172.20.7.0/24"]}]
    assert subnets(cluster.run(HOSTS, hosts=hosts)) == {"a": ["172.20.7.0/24"], "b": ["172.20.0.0/24"]}


ONE = {"node1": HOSTS["node1"]}
BAD: list[tuple[str, dict[str, dict[str, Any]], dict[str, Any], str]] = [
    ("no hosts", {}, {}, "the inventory: its groups kube_control_plane, kube_master, kube_node is empty: put the nodes in one of them"),
    ("no underlay", {"node1": {}}, {}, "node1: podnet_underlay_address is missing: give the address by which the other nodes reach it"),
    (
        "a name as underlay",
        {"node1": {"ansible_host": "node1.example.com"}},
        {},
        "node1: podnet_underlay_address is 'node1.example.com': expected",
    ),
    ("one underlay", {**ONE, "node2": HOSTS["node1"]}, {}, "node2: podnet_underlay_address is 198.51.100.1: node1 has the same"),
    ("one name", {**ONE, "Node1": HOSTS["node2"]}, {}, "node1: the host's name is node1: Node1 is the same name to Kubernetes"),
    ("a bad name", {"node_1": HOSTS["node1"]}, {}, "the inventory: a host's name is node_1: expected an RFC 1123 name"),
    (
        "a bad pin",
        {"node1": {**ONE["node1"], "podnet_pod_subnet": "172.21.0.0/24"}},
        {},
        "node1: podnet_pod_subnet is 172.21.0.0/24: it is outside",
    ),
    (
        "one pin",
        {name: {**HOSTS[name], "podnet_pod_subnet": "172.20.5.0/24"} for name in ("node1", "node2")},
        {},
        "node1: podnet_pod_subnet is 172.20.5.0/24: it overlaps 172.20.5.0/24 of node2",
    ),
    ("a bad prefix", {"node1": {**ONE["node1"], "podnet_node_prefix": "wide"}}, {}, "node1: podnet_node_prefix is wide: expected a number"),
    ("a bad range", ONE, {"cluster_cidr": "172.20.0.1/16"}, "the inventory: podnet_cluster_cidr is 172.20.0.1/16: it has bits set"),
    (
        "ranges that overlap",
        ONE,
        {"service_cidr": "172.20.4.0/24"},
        "podnet_service_cidr is 172.20.4.0/24: it overlaps podnet_cluster_cidr",
    ),
    (
        "nodes among pods",
        {"node1": {"ansible_host": "172.20.0.9"}},
        {},
        "node1: podnet_underlay_address is 172.20.0.9: it lies in podnet_cluster",
    ),
    (
        "too many",
        HOSTS,
        {"cluster_cidr": "172.20.0.0/23"},
        "node2: podnet_cluster_cidr is 172.20.0.0/23: it has 2 subnets of /24 and none is",
    ),
    (
        "an undefined variable",
        {"node1": {"podnet_underlay_address": "{{ nowhere }}"}},
        {},
        "node1: podnet_underlay_address is a template: it cannot be rendered",
    ),
    (
        "no directory",
        ONE,
        {"ledger": "/nowhere/ledger.json"},
        "/nowhere/ledger.json: podnet_ledger is in no directory: make /nowhere first",
    ),
]


@pytest.mark.parametrize(("hosts", "options", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_inventory_gives_one_sentence_and_writes_nothing(
    cluster: Cluster, hosts: dict[str, dict[str, Any]], options: dict[str, Any], sentence: str
) -> None:
    outcome = cluster.run(hosts, **options)
    assert outcome.code != 0
    failed = outcome.one("plan")
    assert failed.failed
    assert sentence in failed.msg
    assert "\n" not in failed.msg
    assert failed.result["commands"] == []
    assert not failed.changed
    assert os.listdir(cluster.directory) == ["hosts.yml"]


def test_a_damaged_ledger_stops_the_run_and_stays(cluster: Cluster) -> None:
    cluster.run(HOSTS).succeeded()
    half = str(cluster.text())[:200]
    cluster.ledger.write_text(half)
    failed = cluster.run(HOSTS).one("plan")
    assert failed.msg.startswith(f"{cluster.ledger}: the ledger is damaged: ")
    assert cluster.text() == half


def test_the_module_by_itself_says_where_it_runs() -> None:
    command = [sys.executable, "-m", "ansible_collections.podnet.baremetal.plugins.modules.pod_subnet"]
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"ledger": "/nowhere", "cluster_cidr": "172.20.0.0/16"}})
    done = subprocess.run(command, input=arguments, env=module_environment(), capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["msg"].startswith("podnet.baremetal.pod_subnet runs as an action on the controller")
