# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role control_plane on nodes that other tools made: their files get our flags, and get their own back. I/O: the lab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from labs import Lab, Play

MANIFEST = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
UNIT = "/etc/systemd/system/kube-controller-manager.service"
CONFIGURATION = "/etc/kubernetes/cluster-configuration.yaml"
BEFORE = "/var/lib/podnet/kube-controller-manager-before.json"
KUBEADMS = """\
apiVersion: v1
kind: Pod
metadata:
  name: kube-controller-manager
  namespace: kube-system
spec:
  containers:
  - command:
    - kube-controller-manager
    - --allocate-node-cidrs=true
    - --bind-address=127.0.0.1
    - --cluster-cidr=10.233.64.0/18
    - --node-cidr-mask-size=24 # as agreed with the network team
    - --service-cluster-ip-range=10.233.0.0/18
    image: registry.k8s.io/kube-controller-manager:v1.33.1
    name: kube-controller-manager
  hostNetwork: true
status: {}
"""
KUBEASZS = """\
[Unit]
Description=Kubernetes Controller Manager

[Service]
ExecStart=/opt/kube/bin/kube-controller-manager \\
  --allocate-node-cidrs=true \\
  --cluster-cidr=172.20.0.0/16 \\
  --kubeconfig=/etc/kubernetes/kube-controller-manager.kubeconfig \\
  --node-cidr-mask-size=24 \\
  --service-cluster-ip-range=10.68.0.0/16 \\
  --v=2
Restart=always

[Install]
WantedBy=multi-user.target
"""


class Node:
    """node1 of the lab, with the files that another tool wrote there."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        self.lab.run("node1", "install", "-D", "-m", mode, "/dev/stdin", path, input=text)

    def read(self, path: str) -> str:
        return self.lab.run("node1", "cat", path).stdout

    def look(self, path: str) -> str:
        return self.lab.run("node1", "stat", "-c", "%a %U:%G", path).stdout.strip()

    def files(self) -> list[str]:
        where = ["/etc/kubernetes", "/etc/systemd/system/kube-controller-manager.service", "/var/lib/podnet"]
        return sorted(self.lab.run("node1", "find", *where, "-printf", "%p %m %s\n", check=False).stdout.splitlines())

    def role(self, *arguments: str, **inputs: Any) -> Play:
        given = {"control_plane_cluster_cidr": "172.20.0.0/16", **inputs}
        roles = [{"role": "podnet.baremetal.control_plane", **given}]
        plays = [{"hosts": "node1", "gather_facts": False, "become": True, "roles": roles}]
        return self.lab.play(plays, *arguments)


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    yield Node(lab)
    lab.run("node1", "rm", "-rf", "/etc/kubernetes", "/var/lib/podnet", UNIT)


def lines(text: str) -> list[str]:
    return [line.strip(" \\") for line in text.splitlines()]


# --- a static pod -------------------------------------------------------------------


def test_a_manifest_gets_the_flags_and_later_its_own_back_letter_by_letter(node: Node) -> None:
    node.write(MANIFEST, KUBEADMS, "0600")
    before = node.files()
    foreseen = node.role("--check", "--diff").succeeded()
    assert node.files() == before
    made = node.role("--diff").succeeded()
    assert made.one("Write the flags").diff == foreseen.one("Write the flags").diff
    assert node.read(MANIFEST) == KUBEADMS.replace("=true", "=false").replace("10.233.64.0/18", "172.20.0.0/16").replace(
        "10.233.0.0/18", "10.68.0.0/16"
    )
    assert [node.look(path) for path in (MANIFEST, BEFORE)] == ["600 root:root", "644 root:root"]
    assert node.role().succeeded().changed == []

    assert node.role("--check", control_plane_state="absent").succeeded().changed
    node.role(control_plane_state="absent").succeeded()
    assert node.read(MANIFEST) == KUBEADMS
    assert node.files() == before
    assert node.role(control_plane_state="absent").succeeded().changed == []


def test_a_change_of_ours_between_leaves_what_was_before_us_known(node: Node) -> None:
    node.write(MANIFEST, KUBEADMS, "0600")
    node.role().succeeded()
    dual: dict[str, Any] = {"control_plane_cluster_cidr": ["172.20.0.0/16", "2001:db8:244::/48"], "control_plane_node_prefix": [25, 64]}
    node.role(**dual).succeeded()
    flags = [line[4:] for line in lines(node.read(MANIFEST)) if "cidr" in line]
    assert flags == [
        "allocate-node-cidrs=false",
        "cluster-cidr=172.20.0.0/16,2001:db8:244::/48",
        "node-cidr-mask-size-ipv4=25",
        "node-cidr-mask-size-ipv6=64",
    ]
    node.role(control_plane_state="absent").succeeded()
    assert sorted(lines(node.read(MANIFEST))) == sorted(lines(KUBEADMS.replace(" # as agreed with the network team", "")))


# --- a unit ---------------------------------------------------------------------------


def test_without_the_handler_a_unit_gets_its_flags_and_nothing_is_started(node: Node) -> None:
    node.write(UNIT, KUBEASZS, "0600")
    form: dict[str, Any] = {"control_plane_form": "unit", "control_plane_restart": False, "control_plane_service_cidr": "10.69.0.0/16"}
    changed = node.role(**form).succeeded()
    assert [each.task.split(" : ")[-1] for each in changed.changed] == ["Write the flags, and once what they were before"]
    assert node.read(UNIT) == KUBEASZS.replace("cidrs=true", "cidrs=false").replace("10.68.0.0/16", "10.69.0.0/16")
    assert node.look(UNIT) == "644 root:root"
    assert node.role(**form).succeeded().changed == []


# --- kubeadm ----------------------------------------------------------------------------


def test_kubeadm_gets_a_document_with_the_settings_of_the_user(node: Node) -> None:
    settings = {"kubernetesVersion": "v1.33.1", "apiServer": {"certSANs": ["198.51.100.9"]}}
    form: dict[str, Any] = {"control_plane_form": "kubeadm", "control_plane_kubeadm_settings": settings}
    before = node.files()
    node.role("--check", **form).succeeded()
    assert node.files() == before
    node.role(**form).succeeded()
    assert yaml.safe_load(node.read(CONFIGURATION)) == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        **settings,
        "networking": {"podSubnet": "172.20.0.0/16", "serviceSubnet": "10.68.0.0/16"},
        "controllerManager": {
            "extraArgs": [{"name": "allocate-node-cidrs", "value": "false"}, {"name": "node-cidr-mask-size", "value": "24"}]
        },
    }
    assert node.look(CONFIGURATION) == "600 root:root"
    assert node.role(**form).succeeded().changed == []
    node.role(control_plane_state="absent", **form).succeeded()
    assert node.files() == before


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inputs", "sentence"),
    [
        (
            "",
            {},
            f"node1: control_plane_manifest is {MANIFEST}: there is no such file; expected the one that starts kube-controller-manager.",
        ),
        ("kind: Pod\n", {}, "kube-controller-manager: the manifest has 0 containers of this name: expected one."),
        (KUBEADMS, {"control_plane_cluster_cidr": "172.20.0.0/33"}, "podnet_cluster_cidr is 172.20.0.0/33: expected a network"),
        (KUBEADMS, {"control_plane_service_cidr": "172.20.1.0/24"}, "overlaps"),
        (KUBEADMS, {"control_plane_form": "pod"}, "control_plane_form"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_changed(node: Node, text: str, inputs: dict[str, Any], sentence: str) -> None:
    if text:
        node.write(MANIFEST, text)
    before = node.files()
    refused = node.role(**inputs)
    assert any(sentence in each.msg for each in refused.outcomes if each.failed), [each.msg for each in refused.outcomes if each.failed]
    assert node.files() == before


def test_a_manifest_that_somebody_wrote_since_it_was_read_is_left_to_them(node: Node) -> None:
    node.write(MANIFEST, KUBEADMS)
    before = node.files()
    read = {"control_plane_texts": [KUBEADMS.replace("v1.33.1", "v1.33.0")]}
    refused = node.role("--extra-vars", json.dumps(read))
    assert f"{MANIFEST} is not what it was when it was read" in refused.one("Write the flags").msg
    assert node.files() == before


# --- the Nodes --------------------------------------------------------------------------------


def test_registered_nodes_get_their_pod_subnets_and_later_ones_with_the_next_run(node: Node, api: ApiServer, tmp_path: Path) -> None:
    ledger = tmp_path / "podnet-ledger.json"
    node.write(MANIFEST, KUBEADMS, "0600")
    api.node("node1")
    api.node("k8s-198-51-100-2", "198.51.100.2")
    api.node("stranger")
    given: dict[str, Any] = {
        "control_plane_pod_cidrs": True,
        "control_plane_kubeconfig": api.kubeconfig,
        "control_plane_ledger": str(ledger),
    }
    node.role("--check", **given).succeeded()
    assert not any(api.pod_cidrs().values())
    assert not ledger.exists()

    node.role(**given).succeeded()
    subnets = {name: lease["subnets"] for name, lease in json.loads(ledger.read_text())["nodes"].items()}
    assert api.pod_cidrs() == {"node1": subnets["node1"], "k8s-198-51-100-2": subnets["node2"], "stranger": []}
    assert api.call("GET", "/api/v1/nodes/node1")["spec"]["podCIDR"] == subnets["node1"][0]
    assert node.role(**given).succeeded().changed == []

    api.node("node3")
    late = node.role("--tags", "control_plane_nodes", **given).succeeded()
    assert [each.task.split(" : ")[-1] for each in late.changed] == ["Tell the API server which pod subnets the Nodes have"]
    assert api.pod_cidrs()["node3"] == subnets["node3"]


def test_a_node_with_a_subnet_of_another_allocator_is_refused_and_no_other_is_told(node: Node, api: ApiServer, tmp_path: Path) -> None:
    node.write(MANIFEST, KUBEADMS, "0600")
    api.node("node1")
    api.node("node2", podCIDR="10.244.3.0/24", podCIDRs=["10.244.3.0/24"])
    ledger = str(tmp_path / "podnet-ledger.json")
    refused = node.role(control_plane_pod_cidrs=True, control_plane_kubeconfig=api.kubeconfig, control_plane_ledger=ledger)
    assert any(
        "node2: spec.podCIDRs is 10.244.3.0/24: the ledger has 172.20.1.0/24" in each.msg for each in refused.outcomes if each.failed
    )
    assert api.pod_cidrs()["node1"] == []


# --- in somebody else's playbook ------------------------------------------------------------------


EXAMPLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "control-plane-kubeasz.yml": (UNIT, KUBEASZS, {"CLUSTER_CIDR": "172.20.0.0/16", "SERVICE_CIDR": "10.68.0.0/16", "NODE_CIDR_LEN": 25}),
    "control-plane-kubespray.yml": (
        MANIFEST,
        KUBEADMS,
        {"kube_pods_subnet": "10.233.64.0/18", "kube_service_addresses": "10.233.0.0/18", "kube_network_node_prefix": 25},
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_takes_the_groups_and_variables_of_its_tool(node: Node, example: str, tmp_path: Path) -> None:
    path, text, theirs = EXAMPLES[example]
    node.write(path, text)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"kube_master": {"hosts": {"node1": {}}}, "all": {"vars": theirs}}))
    arguments = [f"docs/examples/{example}", f"--inventory={inventory}", "--limit=node1"]
    node.lab.play(*arguments, control_plane_restart=False).succeeded()
    assert node.read(path) == text.replace("cidrs=true", "cidrs=false").replace("mask-size=24", "mask-size=25")
    assert node.lab.play(*arguments, control_plane_restart=False).succeeded().changed == []
