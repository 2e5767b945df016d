# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role kubelet in other people's playbooks, and what it refuses. I/O: the lab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from labs import Lab, Play

SAYS = "#!/bin/sh\necho Kubernetes v{}\n"
DROP_IN = "/etc/systemd/system/kubelet.service.d/90-podnet.conf"
CONFIG = "/etc/kubernetes/kubelet.yaml"
UNIT = "/etc/systemd/system/kubelet.service"
KERNEL = ("/etc/sysctl.d/91-podnet-kubelet.conf", "/var/lib/podnet/sysctl-before-kubelet.conf")

KUBEASZ = {
    "K8S_VER": "1.30.1",
    "bin_dir": "/opt/kube/bin",
    "ca_dir": "/etc/kubernetes/ssl",
    "SERVICE_CIDR": "10.68.0.0/16",
    "CLUSTER_DNS_DOMAIN": "cluster.local",
    "MAX_PODS": 110,
    "CONTAINER_RUNTIME": "containerd",
    "K8S_NODENAME": "{{ inventory_hostname }}",
    "KUBELET_ROOT_DIR": "/var/lib/kubelet",
}
KUBEASZ_UNIT = r"""[Service]
ExecStart=/opt/kube/bin/kubelet \
  --config=/var/lib/kubelet/config.yaml \
  --container-runtime=remote \
  --container-runtime-endpoint=unix:///run/containerd/containerd.sock \
  --hostname-override=node1 \
  --network-plugin=cni
Restart=always
"""
KUBESPRAY = {
    "kube_version": "v1.31.4",
    "bin_dir": "/usr/local/bin",
    "kube_config_dir": "/etc/kubernetes",
    "kube_cert_dir": "/etc/kubernetes/ssl",
    "kube_manifest_dir": "/etc/kubernetes/manifests",
    "kube_service_addresses": "10.233.0.0/18",
    "dns_domain": "cluster.local",
    "container_manager": "containerd",
    "kubelet_max_pods": 100,  # kubespray has this name, too
}
KUBESPRAY_UNIT = "[Service]\nEnvironmentFile=-/etc/kubernetes/kubelet.env\nExecStart=/usr/local/bin/kubelet $KUBELET_ARGS\n"
KUBESPRAY_ENVIRONMENT = (
    'KUBELET_ARGS="--node-ip=198.51.100.1 \\\n--pod-infra-container-image=pause:3.9 \\\n--cloud-config=/c \\\n--runtime-cgroups=/r"\n'
)

# project: (its variables, the files that it leaves on a node, those files afterwards, what the drop-in comes to)
PROJECTS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str], list[str]]] = {
    "kubeasz": (
        KUBEASZ,
        {UNIT: KUBEASZ_UNIT, "/opt/kube/bin/kubelet": SAYS.format("1.30.1")},
        {UNIT: KUBEASZ_UNIT.replace("  --container-runtime=remote \\\n", "").replace("node1 \\\n  --network-plugin=cni", "node1")},
        [
            "/opt/kube/bin/kubelet",
            f"--config={CONFIG}",
            "--hostname-override=node1",
            "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
            "--root-dir=/var/lib/kubelet",
        ],
    ),
    "kubespray": (
        KUBESPRAY,
        {UNIT: KUBESPRAY_UNIT, "/etc/kubernetes/kubelet.env": KUBESPRAY_ENVIRONMENT, "/usr/local/bin/kubelet": SAYS.format("1.31.4")},
        {UNIT: KUBESPRAY_UNIT},
        [
            "/usr/local/bin/kubelet",
            "$KUBELET_ARGS",
            "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
            f"--config={CONFIG}",
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
        ],
    ),
}


class Node:
    """node1 of the lab, for tests that leave it as they found it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def role(self, *arguments: str, **variables: Any) -> Play:
        role = {"name": "podnet.baremetal.kubelet"}
        plays = [{"hosts": "node1", "gather_facts": False, "tasks": [{"name": "role", "ansible.builtin.import_role": role}]}]
        return self.lab.play(plays, *arguments, **{"kubelet_binary": "/opt/test/kubelet", "kubelet_restart": False, **variables})

    def write(self, path: str, text: str, mode: str = "755") -> None:
        self.lab.run("node1", "install", "-D", "-m", mode, "/dev/stdin", path, input=text)

    def read(self, path: str) -> str:
        return self.lab.run("node1", "cat", path).stdout

    def has(self, path: str) -> bool:
        return self.lab.run("node1", "test", "-e", path, check=False).returncode == 0


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    here = Node(lab)
    here.write("/opt/test/kubelet", SAYS.format("1.31.4"))
    yield here
    made = ("/etc/kubernetes", "/opt/test", "/opt/kube", "/usr/local/bin/kubelet", "/run/systemd", UNIT, f"{UNIT}.d", *KERNEL)
    lab.run("node1", "rm", "-rf", *made)


@pytest.mark.parametrize("project", PROJECTS)
def test_the_role_fits_into_a_cluster_of(node: Node, project: str) -> None:
    variables, files, left, command = PROJECTS[project]
    for path, text in files.items():
        node.write(path, text, "755" if path.endswith("kubelet") else "600")
    example = f"docs/examples/kubelet-{project}.yml"

    def run(*arguments: str, **more: Any) -> Play:
        return node.lab.play(example, "--limit=node1", "--diff", *arguments, **variables, kubelet_restart=False, **more).succeeded()

    predicted, made, again = run("--check"), run(), run()
    assert [(each.task, each.result.get("diff")) for each in predicted.changed] == [
        (each.task, each.result.get("diff")) for each in made.changed
    ]
    assert again.changed == []
    text = node.read(DROP_IN)
    assert text[text.index("ExecStart=/") :].removeprefix("ExecStart=").replace("\\\n", "").split() == command
    assert {path: node.read(path) for path in left} == left
    assert node.lab.run("node1", "stat", "-c", "%a %u", CONFIG, DROP_IN).stdout == "600 0\n600 0\n"

    run(kubelet_state="absent")
    assert run(kubelet_state="absent").changed == []
    assert not node.has(CONFIG)
    assert not node.has(DROP_IN)
    assert node.read(UNIT) == left[UNIT]


def test_kubesprays_environment_loses_only_what_its_kubelet_does_not_start_with(node: Node) -> None:
    node.write("/etc/kubernetes/kubelet.env", KUBESPRAY_ENVIRONMENT, "640")
    taken = node.role("--tags=kubelet_configure", kubelet_version="1.35.0", kubelet_binary="/opt/test/later", kubelet_unit=False)
    assert taken.code != 0  # there is no such binary
    node.write("/opt/test/later", SAYS.format("1.35.0"))
    node.role("--tags=kubelet_configure", kubelet_binary="/opt/test/later").succeeded()
    assert node.read("/etc/kubernetes/kubelet.env") == 'KUBELET_ARGS="--node-ip=198.51.100.1 \\\n--runtime-cgroups=/r"\n'
    assert node.lab.run("node1", "stat", "-c", "%a", "/etc/kubernetes/kubelet.env").stdout == "640\n"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"kubelet_settings": {"maxPod": 50}}, "node1: kubelet_settings.maxPod is 50: a KubeletConfiguration has no such field"),
    (
        {"kubelet_settings": {"memoryReservationPolicy": "None"}},
        "a kubelet 1.31 does not know the field and would go on without it; 1.36 and",
    ),
    ({"kubelet_flags": {"container-runtime": "remote"}}, "a kubelet 1.31 does not start with it, which is gone since 1.27."),
    ({"kubelet_version": "1.30.2"}, "node1: kubelet_version is 1.30.2: /opt/test/kubelet says Kubernetes v1.31.4;"),
    ({"kubelet_binary": "/opt/none/kubelet"}, "node1: kubelet_binary is /opt/none/kubelet: there is no such file;"),
    ({"kubelet_restart": True}, "node1: kubelet_restart is true: systemd does not run here; false would be accepted."),
    ({"kubelet_install": "archive"}, "kubelet_install=archive needs a URL and a checksum such as sha256:0123456789ab."),
    ({"kubelet_runtime": "docker"}, "names no native.cgroupdriver, so that docker chooses: give kubelet_cgroup_driver."),
]


@pytest.mark.parametrize(("variables", "sentence"), REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_changed(node: Node, variables: dict[str, Any], sentence: str) -> None:
    refused = node.role(**variables)
    assert sentence in " ".join([*(each.msg for each in refused.outcomes if each.failed), refused.errors])
    assert refused.code != 0
    assert refused.changed == []
    assert not node.has("/etc/kubernetes")


def test_a_kubelet_without_api_server_has_its_pod_subnet_and_nobody_to_ask(node: Node) -> None:
    node.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n", "644")
    node.role(kubelet_kubeconfig="", kubelet_pod_cidr=["172.20.1.0/26", "2001:db8:1::/64"]).succeeded()
    document = yaml.safe_load(node.read(CONFIG))
    assert document["podCIDR"] == "172.20.1.0/26,2001:db8:1::/64"
    assert document["maxPods"] == 61
    assert document["resolvConf"] == "/run/systemd/resolve/resolv.conf"
    assert document["authorization"] == {"mode": "AlwaysAllow"}
    assert document["authentication"]["webhook"] == document["authentication"]["anonymous"] == {"enabled": False}
    assert "--kubeconfig" not in node.read(DROP_IN)
    node.role(kubelet_state="absent").succeeded()


# A package of the name kubelet in a repository of the node's own. Nothing outside of the node is asked or changed.
REPOSITORY = """\
set -eu
cd /run/repository
install -D -m 755 /opt/test/kubelet tree/usr/bin/kubelet
mkdir tree/DEBIAN
printf 'Package: kubelet\\nVersion: 1.31.4-1\\nArchitecture: all\\nMaintainer: podnet\\nDescription: for tests\\n' >tree/DEBIAN/control
dpkg-deb --root-owner-group --build tree kubelet.deb >&2
{ dpkg-deb --field kubelet.deb; echo Filename: ./kubelet.deb; stat -c 'Size: %s' kubelet.deb; } >Packages
sha256sum kubelet.deb | sed 's/\\(.*\\)  .*/SHA256: \\1/' >>Packages
cp -a /etc/apt apt
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/run/repository ./' >/etc/apt/sources.list
apt-get update --quiet=2
"""


def test_a_package_brings_the_kubelet_and_stays(node: Node) -> None:
    node.lab.run("node1", "mkdir", "/run/repository")
    try:
        node.lab.run("node1", "sh", "-c", REPOSITORY)
        packaged = {"kubelet_install": "package", "kubelet_binary": "/usr/bin/kubelet"}
        unknown = node.role("--check", **packaged)
        assert "kubelet_version is empty: there is no /usr/bin/kubelet to ask yet" in unknown.one("unknown version").msg
        assert node.role(**packaged).succeeded().one("Install the package").changed
        assert "\nExecStart=/usr/bin/kubelet " in node.read(DROP_IN)
        node.role(kubelet_state="absent", **packaged).succeeded()
        assert node.read("/usr/bin/kubelet") == SAYS.format("1.31.4")
    finally:
        node.lab.run("node1", "sh", "-c", "dpkg --purge kubelet; rm -rf /etc/apt; mv /run/repository/apt /etc/apt; rm -rf /run/repository")


def test_a_unit_of_somebody_else_is_not_replaced(node: Node) -> None:
    node.write(UNIT, KUBESPRAY_UNIT, "644")
    refused = node.role()
    assert refused.one("somebody else").msg == (
        f"node1: kubelet_unit is true: {UNIT} is there already and not the role's; false would be accepted, which adds a drop-in to it."
    )
    assert node.read(UNIT) == KUBESPRAY_UNIT


def test_a_kernel_that_refuses_its_settings_keeps_its_kubelet_from_insisting_on_them(node: Node) -> None:
    panic = int(node.read("/proc/sys/kernel/panic")) + 1  # a lab may set nothing of the kernel's but the network
    failed = node.role(kubelet_protect_kernel_defaults=True, kubelet_kernel_settings={"kernel.panic": panic})
    assert failed.code != 0
    assert [each.task for each in failed.outcomes if each.failed] == ["podnet.baremetal.kubelet : Set those that differ now"]
    assert not node.has(CONFIG)
