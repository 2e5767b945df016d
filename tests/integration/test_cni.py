# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role cni in other people's playbooks, and a running containerd that sees what is written. I/O: the lab, Debian's containerd."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.modules.cni_conflist import ARGUMENTS
from containerds import LOOPBACK, Containerd, containerd, eventually
from etcds import ends_with_us
from labs import CHECKOUT, Lab, Play

DIRECTORY = "/etc/cni/net.d"
CONFLIST = f"{DIRECTORY}/10-flannel.conflist"
BRIDGE: dict[str, Any] = {
    "form": "bridge",
    "subnets": ["172.20.1.0/24"],
    "cluster_cidrs": ["172.20.0.0/16"],
    "mtu": 1450,
    "plugin_directory": "/usr/lib/cni",
}
REWRITES = 100
# Writes one list after the other, each when it is told to, as the module does; without the start of a process for each.
WRITER = """
import json, sys
from ansible_collections.podnet.baremetal.plugins.module_utils._cni import configuration
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
for line in sys.stdin:
    options = json.loads(line)
    print(json.dumps(answer(lambda: configuration(options, "node1"), check=False, diff=False)), flush=True)
"""


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Containerd]:
    with containerd(lab, "node1", tmp_path / "containerd.log") as here:
        yield here


def test_a_running_containerd_takes_each_of_a_hundred_rewrites(lab: Lab, running: Containerd) -> None:
    options = dict.fromkeys(ARGUMENTS) | {name: each["default"] for name, each in ARGUMENTS.items() if "default" in each} | BRIDGE
    assert running.status() == (False, [LOOPBACK])
    taken = 0
    python = ["env", f"PYTHONPATH={CHECKOUT}/build/collections", sys.executable, "-c", WRITER]
    with lab.start("node1", *python, stdin=-1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for number in range(REWRITES):
            writer.stdin.write(json.dumps({**options, "name": f"network-{number}"}) + "\n")
            writer.stdin.flush()
            assert json.loads(writer.stdout.readline())["changed"]
            taken += running.took(f"network-{number}")
        writer.stdin.close()
    assert taken == REWRITES


def test_with_ansibles_own_modules_containerd_stays_without_network_until_something_else_happens(
    lab: Lab, running: Containerd, tmp_path: Path
) -> None:
    text = (CHECKOUT / "tests" / "golden" / "vxlan" / "10-flannel.conflist").read_text()
    (tmp_path / "conflist.j2").write_text(text)
    file = {"dest": CONFLIST, "mode": "0600"}
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.copy": {**file, "content": text}},
        {"ansible.builtin.file": {"path": CONFLIST, "state": "absent"}},
        {"ansible.builtin.template": {**file, "src": str(tmp_path / "conflist.j2")}},
    ]
    seen = len(running.events())
    lab.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}]).succeeded()
    # It loads the directory again for what it receives, and for nothing else.
    assert eventually(lambda: running.events()[seen:] == ["ignore CREATE", "receiving REMOVE", "ignore CREATE"]), running.events()
    assert running.status() == (False, [LOOPBACK])
    lab.task("podnet.baremetal.cni_conflist", BRIDGE).succeeded()
    assert running.took("cbr0")
    assert "receiving RENAME" in running.events()[seen:]


# --- in other people's playbooks ------------------------------------------------------------------------------------------------------

MAIN = "/etc/containerd/config.toml"
KUBEASZ = {"bin_dir": "/opt/kube/bin", "CLUSTER_CIDR": "172.20.0.0/16", "SERVICE_CIDR": "10.68.0.0/16", "NODE_CIDR_LEN": 24}
KUBEASZ_DEFAULT = """{
\t"name": "mynet", "cniVersion": "0.3.1", "type": "bridge", "bridge": "mynet0", "isDefaultGateway": true, "ipMasq": true,
\t"hairpinMode": true, "ipam": {"type": "host-local", "subnet": "172.20.0.0/16"}
}
"""
KUBEASZ_CONTAINERD = """version = 3
imports = []
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dir = '/opt/kube/bin'
  conf_dir = '/etc/cni/net.d'
"""
KUBESPRAY = {
    "kube_pods_subnet": "10.233.64.0/18",
    "kube_service_addresses": "10.233.0.0/18",
    "kube_network_node_prefix": 24,
    "container_manager": "containerd",
}
KUBESPRAY_CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
"""
# project: (its variables, the files that it leaves on a node, where its plugins are, the pod subnet of node1)
PROJECTS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "kubeasz": (KUBEASZ, {MAIN: KUBEASZ_CONTAINERD, f"{DIRECTORY}/10-default.conf": KUBEASZ_DEFAULT}, "/opt/kube/bin", "172.20.0.0/24"),
    "kubespray": (KUBESPRAY, {MAIN: KUBESPRAY_CONTAINERD}, "/opt/cni/bin", "10.233.64.0/24"),
}


class Node:
    """node1 of the lab, for tests that leave it as they found it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def role(self, *arguments: str, hosts: str = "node1", **variables: Any) -> Play:
        tasks = [{"name": "role", "ansible.builtin.import_role": {"name": "podnet.baremetal.cni"}}]
        given = {"cni_cluster_cidr": "172.20.0.0/16", "cni_pod_subnets": ["172.20.1.0/24"], "cni_mtu": 1450, **variables}
        return self.lab.play([{"hosts": hosts, "gather_facts": False, "tasks": tasks}], *arguments, **given)

    def write(self, path: str, text: str) -> None:
        self.lab.run("node1", "install", "-D", "-m", "644", "/dev/stdin", path, input=text)

    def names(self, directory: str) -> list[str]:
        return self.lab.run("node1", "ls", "-A", directory, check=False).stdout.split()


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    yield Node(lab)
    for name in ("node1", "node2"):
        lab.run(name, "sh", "-c", "rm -rf /etc/cni /etc/containerd /opt/cni /opt/kube /run/archive /var/cache/podnet-cni-*")


@pytest.mark.parametrize("project", PROJECTS)
def test_the_role_fits_into_a_cluster_of(node: Node, tmp_path: Path, project: str) -> None:
    variables, files, plugins, subnet = PROJECTS[project]
    for path, text in files.items():
        node.write(path, text)
    node.lab.run("node1", "mkdir", "-p", str(Path(plugins).parent))
    node.lab.run("node1", "ln", "-s", "/usr/lib/cni", plugins)
    (tmp_path / "ledger").mkdir()

    def run(role: str = "cni", *arguments: str) -> Play:
        given = {**variables, "podnet_ledger": str(tmp_path / "ledger" / "podnet-ledger.json")}
        return node.lab.play(f"docs/examples/{role}-{project}.yml", "--limit=node1", *arguments, **given).succeeded()

    made, again, overlay = run(), run(), run("flannel", "--check")
    assert [each.task.partition(" : ")[2] for each in made.changed][-1:] == ["Write the CNI configuration"]
    assert again.changed == []
    # The example of the role flannel asks the same ledger for the same ranges.
    assert not overlay.one("Allocate").changed
    assert overlay.one("Make the VXLAN device").result["lease"]["subnets"] == [subnet]
    (bridge, _portmap) = json.loads(node.lab.run("node1", "cat", CONFLIST).stdout)["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": subnet}]]
    moved = [f"{Path(path).name}.podnet-aside" for path in files if path.startswith(DIRECTORY)]
    assert [name for name in node.names(DIRECTORY) if name[0] != "."] == [*moved, "10-flannel.conflist"]


# --- plugins --------------------------------------------------------------------------------------------------------------------------

LAST = ["Unpack the plugins", "Write the CNI configuration"]
ARCHIVE = "cni-plugins-linux-{architecture}-v1.9.0.tgz"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Plugins of Debian's package as a release has them, for this machine's architecture."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    path = tmp_path / ARCHIVE.format(architecture=architecture)
    members = ["./bridge", "./host-local", "./portmap"]
    owners = ["--owner=1001", "--group=1001"]
    subprocess.run(["tar", "-czf", str(path), *owners, "--dereference", "--directory=/usr/lib/cni", *members], check=True)
    return path


def test_plugins_come_once_from_a_mirror_or_the_controller_and_again_where_they_differ(node: Node, archive: Path) -> None:
    checksum = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    node.lab.run("node1", "mkdir", "/run/archive")
    write = f"base64 --decode >/run/archive/{archive.name}"
    node.lab.run("node1", "sh", "-c", write, input=b64encode(archive.read_bytes()).decode())
    mirror = "http://127.0.0.1:8099/" + ARCHIVE.format(architecture="' ~ cni_architecture ~ '")
    options: dict[str, Any] = {
        "cni_install": "archive",
        "cni_plugin_directory": "/opt/cni/bin",
        "cni_archive": f"{{{{ {{'node1': '{mirror}', 'node2': '{archive}'}}[inventory_hostname] }}}}",
        "cni_archive_checksum": {"amd64": checksum, "arm64": checksum},
    }
    server = ["setpriv", "--pdeathsig=KILL", sys.executable, "-m", "http.server", "--directory=/run/archive", "--bind=127.0.0.1", "8099"]
    log = archive.with_suffix(".log")
    with log.open("wb") as file, ends_with_us([*node.lab.enter("node1"), *server], stderr=file):
        assert eventually(lambda: node.lab.run("node1", "bash", "-c", "true </dev/tcp/127.0.0.1/8099", check=False).returncode == 0)
        predicted, made = (node.role(*check, hosts="node1:node2", **options).succeeded() for check in (["--check"], []))
        for name, way in (("node1", "Fetch the archive"), ("node2", "Copy the archive from the controller")):
            assert changed(predicted, name) == changed(made, name) == [way, "Keep a record of the archive beside the plugins", *LAST]
        node.lab.run("node1", "sh", "-c", "rm /opt/cni/bin/portmap; echo >>/opt/cni/bin/bridge")
        assert changed(node.role(**options).succeeded(), "node1") == LAST[:1]
    assert log.read_text().count('"GET') == 1
    for name in ("node1", "node2"):
        for plugin in ("bridge", "host-local", "portmap"):
            node.lab.run(name, "cmp", f"/usr/lib/cni/{plugin}", f"/opt/cni/bin/{plugin}")
        assert node.lab.run(name, "stat", "-c", "%a %U", "/opt/cni/bin/bridge").stdout == "755 root\n"


def test_what_tar_cannot_read_is_an_error_and_not_taken_for_what_is_there(node: Node, tmp_path: Path) -> None:
    broken = tmp_path / "plugins.tgz"
    broken.write_text("an error page")
    node.lab.run("node1", "mkdir", "-p", "/opt/cni/bin")
    options = {"cni_install": "archive", "cni_plugin_directory": "/opt/cni/bin", "cni_archive": str(broken)}
    stopped = node.role(**options, cni_archive_checksum=f"sha256:{hashlib.sha256(broken.read_bytes()).hexdigest()}")
    (failed,) = (each for each in stopped.outcomes if each.failed)
    assert "Look which plugins differ" in failed.task
    assert "not in gzip format" in failed.result["stderr"]


def changed(play: Play, host: str) -> list[str]:
    return [each.task.partition(" : ")[2] for each in play.changed if each.host == host]


def test_an_archive_that_is_not_what_it_should_be_is_refused_before_anything_is_changed(node: Node, archive: Path) -> None:
    """Three nodes, three mistakes."""
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    given = {
        "cni_archive_checksum": {"node1": f"sha256:{'1' * 64}", "node2": "", "node3": f"sha256:{right}"},
        "cni_architecture": {"node1": "arm64", "node2": "amd64", "node3": "amd64"},
        "cni_archive": {"node1": str(archive), "node2": "https://mirror.example/plugins.tgz", "node3": "file:///etc/hostname"},
    }
    variables = {name: f"{{{{ {values}[inventory_hostname] }}}}" for name, values in given.items()}
    refused = node.role(hosts="node1:node2:node3", cni_install="archive", **variables)
    said = {each.host: each.msg for each in refused.outcomes if each.failed}
    assert said["node1"] == f"node1: cni_archive_checksum is 'sha256:{'1' * 64}': {archive} on the controller has {right}."
    assert "node2: cni_archive_checksum is ''" in said["node2"]
    assert "The checksum for" in said["node3"]  # in Ansible's own words, of what it had fetched
    assert [each for each in refused.changed if not each.failed] == []  # get_url before 2.19 calls what it refuses changed


def test_a_package_and_a_runtime_that_is_told_and_restarted(node: Node) -> None:
    node.write(MAIN, KUBESPRAY_CONTAINERD)
    package = {"cni_install": "package", "cni_plugin_directory": "/usr/lib/cni"}
    refused = node.role(**package)
    (said,) = (each.msg for each in refused.outcomes if each.failed and "containerd" in each.msg)
    assert said.startswith("node1: plugin_directory is /usr/lib/cni: containerd looks in /opt/cni/bin, by the default of containerd: ")
    assert refused.of("Install the package") == []  # which comes after it
    told = node.role("--tags=cni_install,cni_runtime", **package, cni_runtime="containerd", cni_runtime_configure=True)
    assert [each.failed for each in told.of("Install the package")] == [False]
    assert [each.failed for each in told.of("Restart the container runtime")] == [True]  # no service manager runs in a lab
    assert changed(told, "node1") == ["Tell the container runtime where to look"]  # the package is there, the list has another tag
