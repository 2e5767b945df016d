# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handlers of the roles kubelet and control_plane, under a real systemd. I/O: a node that boots."""

from __future__ import annotations

from typing import Any

from booted import Booted, booted, wait_until

UNIT = "/etc/systemd/system/kube-controller-manager.service"
# As kubeasz writes it.
KUBEASZS = """\
[Unit]
Description=Kubernetes Controller Manager

[Service]
ExecStart=/opt/kube/bin/kube-controller-manager \\
  --allocate-node-cidrs=true \\
  --cluster-cidr=172.20.0.0/16 \\
  --node-cidr-mask-size=24 \\
  --service-cluster-ip-range=10.68.0.0/16 \\
  --v=2
Restart=always

[Install]
WantedBy=multi-user.target
"""
# In the place of both programs: it says which kubelet it is, writes down how it was started, and stays.
PROGRAM = """\
#!/bin/sh
[ "$1" = --version ] && exec echo Kubernetes v1.31.4
echo "${0##*/} $*" >>/var/lib/started
exec sleep infinity
"""
KUBELET = "kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf"
BEFORE = "kube-controller-manager --allocate-node-cidrs=true --cluster-cidr=172.20.0.0/16 --node-cidr-mask-size=24"
OURS = BEFORE.replace("true", "false")


class Node:
    """node1, with both programs."""

    def __init__(self, nodes: Booted) -> None:
        self.nodes = nodes
        self.expected: list[str] = []
        for path, text in {"/usr/bin/kubelet": PROGRAM, "/opt/kube/bin/kube-controller-manager": PROGRAM, UNIT: KUBEASZS}.items():
            nodes.run("node1", "install", "-D", "-m", "644" if path == UNIT else "755", "/dev/stdin", path, input=text)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "start", "kube-controller-manager")

    def run(self, *command: str) -> str:
        return self.nodes.run("node1", *command, check=False).stdout

    def roles(self, *arguments: str, kubelet: dict[str, Any] | None = None, control_plane: dict[str, Any] | None = None) -> None:
        told = {"control_plane_form": "unit", "control_plane_cluster_cidr": "172.20.0.0/16", **(control_plane or {})}
        roles = [{"role": "podnet.baremetal.kubelet", **(kubelet or {})}, {"role": "podnet.baremetal.control_plane", **told}]
        self.nodes.play([{"hosts": "node1", "gather_facts": False, "become": True, "roles": roles}], *arguments).succeeded()

    def started(self, *more: str) -> None:
        """Wait until these have been started, beside those from before. One too many is found here or the next time."""
        self.expected += more
        wait_until(lambda: sorted(self.run("cat", "/var/lib/started").splitlines()) == sorted(self.expected))

    def states(self) -> list[str]:
        return [self.run("systemctl", f"is-{what}", "kubelet").strip() for what in ("active", "enabled")]


def test_each_service_starts_anew_once_after_a_change() -> None:
    with booted("restarts") as nodes:
        node = Node(nodes)
        node.started(f"{BEFORE} --service-cluster-ip-range=10.68.0.0/16 --v=2")
        node.roles("--check")
        node.roles()
        node.started(f"{OURS} --service-cluster-ip-range=10.68.0.0/16 --v=2", KUBELET)
        assert node.states() == ["active", "enabled"]

        both_files = {"kubelet_settings": {"maxPods": 50}, "kubelet_flags": {"v": 4}}
        node.roles(kubelet=both_files, control_plane={"control_plane_service_cidr": "10.69.0.0/16"})
        node.started(f"{OURS} --service-cluster-ip-range=10.69.0.0/16 --v=2", f"{KUBELET} --v=4")

        node.roles(kubelet={"kubelet_state": "absent"}, control_plane={"control_plane_state": "absent"})
        node.started(f"{BEFORE} --service-cluster-ip-range=10.68.0.0/16 --v=2")
        assert node.run("cat", UNIT) == KUBEASZS
        assert node.states() == ["inactive", ""]
