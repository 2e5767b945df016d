# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_report in a playbook: of what hosts have registered, with no host contacted. I/O: ansible-playbook, temporary directories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_document import NOTHING
from labs import Play, module_environment, play
from verifications import verification

MODULE = "podnet.baremetal.verify_report"
DOCUMENT = verification(4, broken=True)
GONE = "Failed to connect to the host via ssh: Connection timed out"


def registered(name: str) -> dict[str, Any]:
    """What the tasks before have registered on a host of the document."""
    node = dict(DOCUMENT["nodes"][name])
    if node["state"] == "unreachable":
        return {"verify_pod": {"unreachable": True, "msg": GONE}}
    paths = [path for path in DOCUMENT["paths"] if path["from"] == name]
    tables = {field: node[field] for field in NOTHING}
    return {"verify_tables": tables, "verify_pod": {"pod": node["pod"]}, "verify_probe": {"paths": paths, "sample": DOCUMENT["sample"]}}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    hosts = {name: registered(name) for name in DOCUMENT["nodes"]}
    (tmp_path / "hosts.yml").write_text(json.dumps({"kube_node": {"hosts": hosts}}))
    return tmp_path / "hosts.yml"


def report(inventory: Path, *arguments: str, **options: Any) -> Play:
    given = {"directory": "{{ inventory_dir }}/made/verification", "service_cidrs": ["10.68.0.0/16"], **options}
    task = {"name": "report", MODULE: given, "run_once": True}
    return play([{"hosts": "all", "gather_facts": False, "tasks": [task]}], *arguments, inventory=inventory)


def test_one_document_of_all_hosts_is_said_in_four_forms_and_fails_for_an_error(inventory: Path) -> None:
    directory = inventory.parent / "made" / "verification"
    looked = report(inventory, "--check")
    assert (looked.code, directory.exists()) == (2, False)

    done = report(inventory)
    assert done.code == 2
    outcome = done.one("report")
    assert not outcome.changed
    assert outcome.result["files"] == [str(directory / f"verification.{end}") for end in ("json", "xml", "html")]
    assert outcome.msg.endswith(f"found: see {directory}/verification.html.")
    assert [oct((directory / name).stat().st_mode & 0o777) for name in ("verification.json", "verification.html")] == ["0o644"] * 2

    found = json.loads((directory / "verification.json").read_text())
    assert found["paths"] == DOCUMENT["paths"]
    assert found["nodes"]["node1"] == DOCUMENT["nodes"]["node1"]
    assert (found["nodes"]["node4"]["state"], found["nodes"]["node4"]["reason"]) == ("unreachable", GONE)
    assert found["sample"] == {"each": 0, "run": 0, "tested": 9, "pairs": 12}
    assert found["network"] == {**DOCUMENT["network"], "ledger": "", "generation": 0}  # as the nodes themselves have it
    assert found["problems"] == problems(found) == outcome.result["problems"]
    assert found["took"] > 0
    assert {suite.get("name") for suite in ET.parse(directory / "verification.xml").getroot()} >= set(DOCUMENT["nodes"])
    assert "<title>" in (directory / "verification.html").read_text()
    assert sorted(path.name for path in directory.iterdir()) == ["verification.html", "verification.json", "verification.xml"]

    again = report(inventory, fail=False)
    assert (again.code, again.changed) == (0, [])


def test_the_table_is_in_the_terminal(inventory: Path) -> None:
    playbook = inventory.parent / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{MODULE: {"directory": "made"}, "run_once": True}]}]))
    variables = {**module_environment(), "ANSIBLE_STDOUT_CALLBACK": "default"}
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "--inventory",
        str(inventory),
        "--check",
        str(inventory.parent / "play.yml"),
    ]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert "from \\ to  node1  node2  node3  node4" in done.stdout
    assert f"node4: unreachable: {GONE}"[:70] in done.stdout


def test_a_host_that_no_task_reached_and_one_where_a_task_failed_are_told_apart(inventory: Path) -> None:
    hosts = {"node1": {"verify_tables": {"failed": True, "msg": "pyroute2 is missing"}}, "node2": {}}
    inventory.write_text(json.dumps({"kube_node": {"hosts": hosts}}))
    assert report(inventory).code == 2
    nodes = json.loads((inventory.parent / "made/verification/verification.json").read_text())["nodes"]
    assert {name: (node["state"], node["reason"]) for name, node in nodes.items()} == {
        "node1": ("failed", "pyroute2 is missing"),
        "node2": ("unreachable", "No task of this run has reached it."),
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"directory": "/proc/nowhere"}, "verify_report_directory is /proc/nowhere: it cannot be made: "),
        ({"ledger": "/nowhere/ledger.json"}, "/nowhere/ledger.json: podnet_ledger is in no directory"),
    ],
    ids=["directory", "ledger"],
)
def test_a_bad_option_gives_one_sentence(inventory: Path, options: dict[str, str], sentence: str) -> None:
    failed = report(inventory, **options).one("report")
    assert failed.failed
    assert failed.msg.startswith(sentence)
    assert "\n" not in failed.msg


def test_the_module_by_itself_says_where_it_runs() -> None:
    command = [sys.executable, "-m", "ansible_collections.podnet.baremetal.plugins.modules.verify_report"]
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"directory": "/nowhere"}})
    done = subprocess.run(command, input=arguments, env=module_environment(), capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["msg"].startswith("podnet.baremetal.verify_report runs as an action on the controller")
