# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is never run as a whole: slices of a job, and nodes that pull. I/O: etcd, git, a lab of three nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from etcds import etcd
from labs import CHECKOUT, DIRECTORY, Lab, Play, play, take_away

NODES = {f"node{number}": {"ansible_host": f"198.51.100.{number}"} for number in (1, 2, 3)}
CLUSTER = {"podnet_cluster_cidr": "172.20.0.0/16", "podnet_service_cidr": "10.68.0.0/16", "cni_plugin_directory": "/usr/lib/cni"}
IN_THE_LAB = {"ansible_connection": "podnet.baremetal.netns", "ansible_python_interpreter": sys.executable}
SETTINGS = f"[defaults]\ncollections_path = {CHECKOUT}/build/collections\n[connection]\npipelining = True\n"


def inventory(path: Path, *names: str, **variables: Any) -> Path:
    path.write_text(json.dumps({"kube_node": {"hosts": {name: NODES[name] for name in names}, "vars": {**CLUSTER, **variables}}}))
    return path


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    directory = f"{DIRECTORY}-{os.getpid()}-controllers"
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 3}).succeeded()
        yield Lab(directory)
    finally:
        take_away(directory)


def test_three_slices_of_a_job_come_to_what_one_run_would(lab: Lab, tmp_path: Path) -> None:
    with etcd(tmp_path) as server:
        given = {"podnet_lab_directory": lab.directory, "podnet_ledger": server.url}

        def run(playbook: str, *hosts: str, **more: Any) -> Play:
            """One job: it has an inventory of these hosts alone."""
            here = inventory(tmp_path / f"{'-'.join(hosts)}.json", *hosts, **IN_THE_LAB)
            return play(f"playbooks/{playbook}.yml", inventory=here, variables={**given, **more}).succeeded()

        with ThreadPoolExecutor() as slices:
            for playbook in ("site", "peers"):  # in the first a slice may not know yet who is in the others
                list(slices.map(partial(run, playbook, podnet_retire=False), NODES))
        assert run("site", *NODES).changed == []
        run("reset", *NODES)


def test_nodes_that_pull_come_to_what_one_run_would(lab: Lab) -> None:
    repository = CHECKOUT / "build" / f"pulled-{os.getpid()}"  # which nodes see
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir()
    try:
        inventory(repository / "hosts.json", *NODES, ansible_connection="local", ansible_python_interpreter=sys.executable)
        (repository / "ansible.cfg").write_text(SETTINGS)
        (repository / "local.yml").write_text("- name: The pod network\n  ansible.builtin.import_playbook: podnet.baremetal.site\n")
        plan: dict[str, Any] = {"ledger": str(repository / "podnet-ledger.json"), "cluster_cidr": CLUSTER["podnet_cluster_cidr"]}
        plan["service_cidr"] = CLUSTER["podnet_service_cidr"]
        tasks = [{"podnet.baremetal.pod_subnet": plan}]
        hosts = repository / "hosts.json"
        play([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], inventory=hosts).succeeded()
        committed(repository)

        with ThreadPoolExecutor() as nodes:
            said = list(nodes.map(lambda name: pulled(lab, repository, name), NODES))
        assert ["failed=0" in each for each in said] == [True] * 3, said
        variables = {**IN_THE_LAB, "podnet_lab_directory": lab.directory}
        assert play("playbooks/site.yml", inventory=hosts, variables=variables).succeeded().changed == []
    finally:
        shutil.rmtree(repository)


def committed(repository: Path) -> None:
    author = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for command in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--message=The cluster")):
        subprocess.run(["git", *command], cwd=repository, check=True)


def pulled(lab: Lab, repository: Path, name: str) -> str:
    """What a node says that runs the playbook on itself."""
    pull = [str(Path(sys.executable).parent / "ansible-pull"), f"--url={repository}", "--directory=/root/pulled", "--inventory=hosts.json"]
    path = f"PATH={Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    trusted = ("GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
    done = lab.run(
        name, "env", path, *trusted, "ANSIBLE_CONFIG=/root/pulled/ansible.cfg", *pull, f"--limit={name}", "local.yml", check=False
    )
    return f"{done.stdout}{done.stderr}"
