# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep pods from being attached by a right configuration, on a node made of namespaces with the real CNI plugins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cni_namespace import PLUGINS, CniNode, cni_node

DIRECTORY = "/etc/cni/net.d"
CONFLIST = f"{DIRECTORY}/10-flannel.conflist"
# What kubeasz writes before the network of a cluster is chosen, with a range of documentation addresses.
KUBEASZ = {
    "name": "mynet",
    "cniVersion": "0.3.1",
    "type": "bridge",
    "bridge": "mynet0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "hairpinMode": True,
    "ipam": {"type": "host-local", "subnet": "203.0.113.0/24"},
}


@pytest.fixture
def node() -> Iterator[CniNode]:
    with cni_node() as node:
        yield node


def done(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def networked(node: CniNode, subnet: str = "203.0.113.0/25", **options: Any) -> dict[str, Any]:
    bridge = {"form": "bridge", "subnets": [subnet], "cluster_cidrs": ["203.0.113.0/24"], "mtu": 1450}
    return node.module("cni_conflist", **{**bridge, "plugin_directory": PLUGINS, **options})


def pod(node: CniNode, name: str = "pod1", **options: Any) -> dict[str, Any]:
    return done(node.module("cni_pod", name=name, plugin_directory=PLUGINS, **options))


def write(node: CniNode, path: str, text: str) -> None:
    node.path(path).parent.mkdir(parents=True, exist_ok=True)
    node.path(path).write_text(text)


def port_of(node: CniNode, name: str) -> str:
    result = json.loads(node.path(f"/var/lib/cni/results/cbr0-{name}-eth0").read_text())["result"]
    return next(str(each["name"]) for each in result["interfaces"] if each["name"].startswith("veth"))


def names(node: CniNode) -> list[str]:
    return sorted(file.name for file in node.path(DIRECTORY).iterdir())


# --- other files of the directory -----------------------------------------------------------------------------------------------------


def test_a_file_that_a_runtime_takes_first_is_refused_or_moved_out_of_the_way_and_brought_back(node: CniNode) -> None:
    write(node, f"{DIRECTORY}/10-default.conf", json.dumps(KUBEASZ))
    write(node, f"{DIRECTORY}/87-later.conflist", "{}")
    refused = networked(node, shadows="refuse")
    assert refused["msg"] == (
        f"node1: path is {CONFLIST}: a runtime takes {DIRECTORY}/10-default.conf before it: remove that, or let shadows be move or report."
    )
    assert names(node) == ["10-default.conf", "87-later.conflist"]

    predicted, moved, again = (networked(node, shadows="move", check=check) for check in (True, False, False))
    assert (predicted["commands"], predicted["wins"], predicted["shadowed_by"]) == (moved["commands"], CONFLIST, None)
    assert moved["commands"][-1] == f"mv {DIRECTORY}/10-default.conf {DIRECTORY}/10-default.conf.podnet-aside"
    assert (moved["wins"], again["changed"]) == (CONFLIST, False)
    assert names(node) == ["10-default.conf.podnet-aside", "10-flannel.conflist", "87-later.conflist"]
    assert pod(node)["addresses"] == ["203.0.113.2/25"]  # of ours

    pod(node, state="absent")
    predicted, gone = (node.module("cni_conflist", state="absent", check=check) for check in (True, False))
    assert predicted["wins"] == done(gone)["wins"] == f"{DIRECTORY}/10-default.conf"
    assert names(node) == ["10-default.conf", "87-later.conflist"]
    assert json.loads(node.path(f"{DIRECTORY}/10-default.conf").read_text()) == KUBEASZ


def test_a_file_that_came_again_stays_when_ours_goes(node: CniNode) -> None:
    done(networked(node))
    for text in ("first", "second"):
        write(node, f"{DIRECTORY}/10-default.conf", text)
        done(networked(node, shadows="move"))
    write(node, f"{DIRECTORY}/10-default.conf", "third")
    done(node.module("cni_conflist", state="absent"))
    assert node.path(f"{DIRECTORY}/10-default.conf").read_text() == "third"
    assert node.path(f"{DIRECTORY}/10-default.conf.podnet-aside").read_text() == "second"


# --- bridges --------------------------------------------------------------------------------------------------------------------------


def test_a_bridge_of_a_former_lease_is_repaired_when_no_pod_is_attached_and_else_names_the_pods(node: CniNode) -> None:
    done(networked(node, "203.0.113.128/25"))
    pod(node, "pod1")
    pod(node, "pod2")
    record = node.path("/var/lib/cni/results/cbr0-pod2-eth0")
    arguments = [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "web-1"]]  # as containerd has libcni keep them
    record.write_text(json.dumps({**json.loads(record.read_text()), "cniArgs": arguments}))
    named = {port_of(node, "pod1"): "pod1", port_of(node, "pod2"): "default/web-1"}
    attached = ", ".join(f"{named[port]} by {port}" for port in sorted(named))
    before = node.path(CONFLIST).read_text()
    assert networked(node)["msg"] == (
        f"node1: subnets is 203.0.113.0/25: cni0 has 203.0.113.129/25, and the pods {attached} are attached to it: "
        "detach them first, as by draining the node."
    )
    assert node.path(CONFLIST).read_text() == before

    pod(node, "pod1", state="absent")
    pod(node, "pod2", state="absent")
    predicted, repaired, again = (networked(node, check=check) for check in (True, False, False))
    assert (
        predicted["commands"]
        == repaired["commands"]
        == ["ip address delete 203.0.113.129/25 dev cni0", f"install -m 0600 /dev/stdin {CONFLIST}"]
    )
    assert (predicted["diff"], again["changed"]) == (repaired["diff"], False)
    assert pod(node, "pod3")["addresses"] == ["203.0.113.2/25"]
    assert networked(node)["changed"] is False  # with the gateway that the plugin has given it


def test_an_ipv6_address_of_another_range_is_not_in_the_way(node: CniNode) -> None:
    node.command("ip", "link", "add", "cni0", "type", "bridge")
    for address in ("2001:db8:9::1/64", "2001:db8:0:1::9/64", "203.0.113.129/25"):
        node.command("ip", "address", "add", address, "dev", "cni0")
    both: dict[str, Any] = {"subnets": ["203.0.113.0/25", "2001:db8:0:1::/64"], "cluster_cidrs": ["203.0.113.0/24", "2001:db8::/48"]}
    assert [command for command in done(networked(node, **both))["commands"] if "delete" in command] == [
        "ip address delete 203.0.113.129/25 dev cni0",
        "ip address delete 2001:db8:0:1::9/64 dev cni0",
    ]
    addresses = ["203.0.113.2/25", "2001:db8:0:1::2/64"]
    assert pod(node)["addresses"] == addresses


def test_the_bridge_that_kubeasz_makes_for_the_whole_cluster_is_named_with_its_pods(node: CniNode) -> None:
    write(node, f"{DIRECTORY}/10-default.conf", json.dumps(KUBEASZ))
    pod(node)
    said = networked(node, shadows="move")["msg"]
    (port,) = (link["ifname"] for link in json.loads(node.command("ip", "-json", "link", "show", "master", "mynet0")) if link)
    made = "the bridge mynet0 has 203.0.113.1/24, as kubeasz's 10-default.conf makes its mynet0"
    take = "take it away with ip link delete mynet0."
    assert said == f"node1: subnets is 203.0.113.0/25: {made}: detach the pods pod1 by {port} and {take}"
    assert names(node) == ["10-default.conf"]
    pod(node, state="absent")
    assert networked(node, shadows="move")["msg"] == f"node1: subnets is 203.0.113.0/25: {made}: {take}"
    node.command("ip", "link", "delete", "mynet0")
    done(networked(node, shadows="move"))


# --- runtimes -------------------------------------------------------------------------------------------------------------------------


def test_a_runtime_that_looks_elsewhere_is_found_by_its_configuration(node: CniNode) -> None:
    done(networked(node, runtime="auto"))  # none has one
    write(node, "/etc/crio/crio.conf.d/10-own.conf", '[crio.network]\nplugin_dirs = ["/opt/own"]\n')
    write(node, "/etc/containerd/config.toml", 'disabled_plugins = ["cri"]\n[plugins.cri.cni]\nconf_dir = "/etc/own"\n')  # as Docker's
    would = "that would be accepted, or to tell it by cni_runtime."
    says = f"node1: plugin_directory is {PLUGINS}: crio looks in /opt/own, by plugin_dirs in /etc/crio/crio.conf.d/10-own.conf: {would}"
    assert networked(node, runtime="auto")["msg"] == says
