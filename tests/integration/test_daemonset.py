# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role flannel in the mode daemonset: what the API server gets, and the device that flanneld finds. I/O: the lab, an API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from labs import Lab, Play

FLANNELD, PLUGIN = "ghcr.io/flannel-io/flannel:v0.28.9", "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3"
FIELDS = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
SETTINGS = {"EVENT_QUEUE_DEPTH": "5000", "CONT_WHEN_CACHE_NOT_READY": "false"}
# What flannel's own manifest has of each container: image, command, arguments, where its volumes are mounted.
CONTAINERS: dict[str, tuple[str, list[str], list[str], dict[str, str]]] = {
    "install-cni-plugin": (PLUGIN, ["cp"], ["-f", "/flannel", "/opt/cni/bin/flannel"], {"cni-plugin": "/opt/cni/bin"}),
    "install-cni": (
        FLANNELD,
        ["/opt/bin/install-conf"],
        ["/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"],
        {"cni": "/etc/cni/net.d", "flannel-cfg": "/etc/kube-flannel/"},
    ),
    "kube-flannel": (
        FLANNELD,
        ["/opt/bin/flanneld"],
        ["--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081"],
        {"run": "/run/flannel", "flannel-cfg": "/etc/kube-flannel/", "xtables-lock": "/run/xtables.lock"},
    ),
}
RULES = {"pods": ["get"], "nodes": ["get", "list", "watch"], "nodes/status": ["patch"]}
NAMESPACED = "/namespaces/kube-flannel"
OBJECTS = {
    "Namespace": f"/api/v1{NAMESPACED}",
    "ServiceAccount": f"/api/v1{NAMESPACED}/serviceaccounts/flannel",
    "ConfigMap": f"/api/v1{NAMESPACED}/configmaps/kube-flannel-cfg",
    "DaemonSet": f"/apis/apps/v1{NAMESPACED}/daemonsets/kube-flannel-ds",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/flannel",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/flannel",
}


class Cluster:
    """Two nodes of the lab, registered at an API server, with a ledger of their own."""

    def __init__(self, lab: Lab, api: ApiServer, ledger: Path) -> None:
        self.lab, self.api = lab, api
        self._inputs = {"podnet_ledger": str(ledger), "flannel_mode": "daemonset", "flannel_kubeconfig": api.kubeconfig}

    def role(self, *arguments: str, **inputs: Any) -> Play:
        plays = [{"hosts": "node1:node2", "gather_facts": False, "become": True, "roles": ["podnet.baremetal.flannel"]}]
        return self.lab.play(plays, *arguments, **self._inputs, **inputs)

    def run(self, command: str, *, check: bool = True) -> str:
        return self.lab.run("node1", *command.split(), check=check).stdout

    def object(self, kind: str) -> dict[str, Any]:
        return self.api.call("GET", OBJECTS[kind])


@pytest.fixture(scope="module")
def cluster(lab: Lab, server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for name in ("node1", "node2"):
        server.node(name)
    here = Cluster(lab, server, tmp_path_factory.mktemp("inventory") / "podnet-ledger.json")
    yield here
    here.role(flannel_state="absent").succeeded()
    server.empty()


def test_check_mode_changes_neither_node_nor_cluster(cluster: Cluster) -> None:
    cluster.role("--check").succeeded()
    assert "flannel.1" not in cluster.run("ip link show")
    assert "annotations" not in cluster.api.call("GET", "/api/v1/nodes/node1")["metadata"]


def test_the_device_is_one_that_flanneld_takes_and_its_tables_are_left_to_flanneld(cluster: Cluster) -> None:
    """ensureLink keeps a device whose VNI, interface, local address, port, L2miss, group and GBP are those it wants (device.go:85-127)."""
    cluster.role().succeeded()
    link = json.loads(cluster.run("ip -json -d link show flannel.1"))[0]
    wanted = {"id": 1, "link": "eth0", "local": "198.51.100.1", "port": 8472}
    data = link["linkinfo"]["info_data"]
    assert {name: data.get(name) for name in wanted} == wanted
    assert [data.get(name, False) for name in ("l2miss", "l3miss", "learning", "gbp", "group")] == [False] * 5
    assert link["address"] == "02:f1:ac:14:00:00"
    assert " 172.20.0.0/32 " in cluster.run("ip -4 addr show flannel.1")
    assert cluster.run("ip -4 route show dev flannel.1") == ""
    assert "podnet" not in cluster.run("nft list tables")
    assert cluster.run("cat /run/flannel/subnet.env", check=False) == ""


def test_flanneld_is_told_the_mac_and_the_underlay_address_of_each_node(cluster: Cluster) -> None:
    found = [cluster.api.call("GET", f"/api/v1/nodes/{name}")["metadata"]["annotations"] for name in ("node1", "node2")]
    assert [each["flannel.alpha.coreos.com/node-public-ip"] for each in found] == ["198.51.100.1", "198.51.100.2"]
    assert found[1]["flannel.alpha.coreos.com/backend-data"] == '{"VNI":1,"VtepMAC":"02:f1:ac:14:01:00"}'


def test_the_manifests_are_flannels_own(cluster: Cluster) -> None:
    spec = cluster.object("DaemonSet")["spec"]["template"]["spec"]
    containers = {each["name"]: each for each in [*spec["initContainers"], *spec["containers"]]}
    assert {
        name: (each["image"], each["command"], each["args"], {mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]})
        for name, each in containers.items()
    } == CONTAINERS
    flanneld = containers["kube-flannel"]
    assert flanneld["securityContext"] == {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}
    assert flanneld["resources"] == {"requests": {"cpu": "100m", "memory": "50Mi"}}
    assert [flanneld[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")] == ["/healthz", "/readyz"]
    environment = {each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"] for each in flanneld["env"]}
    assert environment == {**FIELDS, **SETTINGS}
    assert (spec["hostNetwork"], spec["priorityClassName"], spec["serviceAccountName"]) == (True, "system-node-critical", "flannel")
    assert spec["tolerations"] == [{"operator": "Exists", "effect": "NoSchedule"}]
    paths = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
    assert paths == {"run": "/run/flannel", "cni-plugin": "/opt/cni/bin", "cni": "/etc/cni/net.d", "xtables-lock": "/run/xtables.lock"}


def test_its_rights_its_namespace_and_its_configuration_are_flannels_own(cluster: Cluster) -> None:
    assert {rule["resources"][0]: rule["verbs"] for rule in cluster.object("ClusterRole")["rules"]} == RULES
    subject = cluster.object("ClusterRoleBinding")["subjects"][0]
    assert (subject["kind"], subject["name"], subject["namespace"]) == ("ServiceAccount", "flannel", "kube-flannel")
    assert cluster.object("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert cluster.object("ServiceAccount")["metadata"]["name"] == "flannel"
    data = {name: json.loads(text) for name, text in cluster.object("ConfigMap")["data"].items()}
    recorded = Path(__file__).resolve().parents[1] / "golden" / "vxlan" / "10-flannel.conflist"
    assert data == {
        "cni-conf.json": json.loads(recorded.read_text()),
        "net-conf.json": {
            "Network": "172.20.0.0/16",
            "SubnetLen": 24,
            "EnableNFTables": False,
            "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472},
        },
    }


def test_a_second_run_changes_nothing_and_another_image_changes_only_the_daemonset(cluster: Cluster) -> None:
    assert cluster.role().succeeded().changed == []
    other = {"flannel_daemonset_image": "registry.example/flannel:v0.27.4", "flannel_daemonset_install": ["cp", "-f"], "flannel_mtu": 1400}
    changed = cluster.role(**other).succeeded()
    assert sorted({each.task.split(" : ")[1] for each in changed.changed}) == ["Apply the manifests", "Make the VXLAN device of this node"]
    spec = cluster.object("DaemonSet")["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], spec["initContainers"][1]["command"]) == ("registry.example/flannel:v0.27.4", ["cp", "-f"])
    backend = json.loads(cluster.object("ConfigMap")["data"]["net-conf.json"])["Backend"]
    assert backend["MTU"] == 1450, "flanneld takes 50 off it for the device"


def test_absent_takes_the_daemonset_and_the_device_away_and_by_its_tag_the_daemonset_alone(cluster: Cluster) -> None:
    taken = cluster.role("--tags=flannel_daemonset", flannel_state="absent").succeeded()
    assert [each.task.split(" : ")[1] for each in taken.changed] == ["Take flannel's DaemonSet away"]
    assert "flannel.1" in cluster.run("ip link show")
    cluster.role(flannel_state="absent").succeeded()
    assert "flannel.1" not in cluster.run("ip link show")
    left = cluster.api.call("GET", f"/apis/apps/v1{NAMESPACED}/daemonsets")["items"]
    assert left == []
