# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run on a lab of the tests' own, and what they answered. I/O: ansible-playbook, and the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._lab import read

CHECKOUT = Path(__file__).resolve().parents[2]
INVENTORY = CHECKOUT / "inventories" / "lab"
DIRECTORY = "/run/podnet-test"  # and the PID of the tests, and a word for what the lab is for
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


@dataclass(frozen=True)
class Outcome:
    """What one task did on one host. `result` is all that Ansible returned."""

    task: str
    host: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed", False))

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed", False))

    @property
    def unreachable(self) -> bool:
        return bool(self.result.get("unreachable", False))

    @property
    def skipped(self) -> bool:
        return bool(self.result.get("skipped", False))

    @property
    def msg(self) -> str:
        return str(self.result.get("msg", ""))

    @property
    def commands(self) -> list[str]:
        return list(self.result.get("commands", []))

    @property
    def diff(self) -> dict[str, str]:
        diff = self.result.get("diff", {})
        return dict(diff[0] if isinstance(diff, list) else diff)


@dataclass(frozen=True)
class Play:
    """A run of ansible-playbook: its exit code, what it did, task by task and host by host, its warnings and errors, and its own stats."""

    code: int
    outcomes: tuple[Outcome, ...]
    stats: dict[str, dict[str, int]]
    errors: str
    custom: dict[str, Any]

    def of(self, task: str | None = None, host: str | None = None) -> list[Outcome]:
        """The outcomes of the tasks whose name contains `task`, on `host`."""
        return [o for o in self.outcomes if (task is None or task in o.task) and host in (None, o.host)]

    def one(self, task: str | None = None, host: str | None = None) -> Outcome:
        found = self.of(task, host)
        assert len(found) == 1, [(outcome.task, outcome.host) for outcome in found]
        return found[0]

    @property
    def changed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.changed]

    def succeeded(self) -> Play:
        """Itself; the test has failed, with what the hosts said, if the run has."""
        unhappy = [f"{o.task}, {o.host}: {o.msg or o.result}" for o in self.outcomes if o.failed or o.unreachable]
        assert self.code == 0, "\n".join([*unhappy, self.errors])
        return self


def play(
    playbook: str | Path | Sequence[dict[str, Any]],
    *arguments: str,
    inventory: str | Path = INVENTORY,
    variables: dict[str, Any] | None = None,
) -> Play:
    """Run a playbook: a path within the checkout, or plays given as values. `variables` are extra variables."""
    given = isinstance(playbook, (str, Path))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={inventory}", *arguments]
    command += ["--extra-vars", json.dumps(variables or {}), str(CHECKOUT / str(playbook)) if given else "/dev/stdin"]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment(), input="" if given else json.dumps(playbook), capture_output=True, text=True, check=False
    )
    start = done.stdout.find("{\n")
    report = json.loads(done.stdout[start:]) if start >= 0 else {"plays": [], "stats": {}}
    outcomes = tuple(
        Outcome(task["task"]["name"], host, result)
        for each in report["plays"]
        for task in each["tasks"]
        for host, result in task["hosts"].items()
    )
    errors = done.stderr if start >= 0 else done.stdout + done.stderr
    return Play(done.returncode, outcomes, report["stats"], errors, report.get("global_custom_stats", {}))


# Results are read, and with what each task was given: since ansible-core 2.21 that is not in them by default.
SPOKEN = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_INJECT_INVOCATION": "true"}


def environment() -> dict[str, str]:
    """What ansible-playbook of the checkout's virtual environment runs with, whoever called the tests."""
    system = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PODNET_"))}
    path = f"{Path(sys.executable).parent}:/usr/sbin:/sbin:{os.environ['PATH']}"
    return {**system, "PATH": path, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **SPOKEN}


@dataclass(frozen=True)
class Lab:
    """A running lab. Its nodes are the hosts of inventories/lab."""

    directory: str

    def play(self, playbook: str | Path | Sequence[dict[str, Any]], *arguments: str, **variables: Any) -> Play:
        return play(playbook, *arguments, variables={"podnet_lab_directory": self.directory, **variables})

    def task(self, module: str, options: Any, *arguments: str, hosts: str = "node1", **keywords: Any) -> Play:
        """Run one task on nodes. `keywords` are the play's: become, vars."""
        plays = [{"hosts": hosts, "gather_facts": False, "tasks": [{"name": module, module: options}], **keywords}]
        return self.play(plays, *arguments)

    def pids(self) -> dict[str, int]:
        """The first process of each node, and of the switch."""
        return {record.node.name: record.pid for record in read(self.directory) if record.alive}

    def run(self, node: str, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a node, or in the switch, without Ansible."""
        return subprocess.run([*self.enter(node), *command], capture_output=True, text=True, check=check, **options)

    def start(self, node: str, *command: str, **options: Any) -> subprocess.Popen[str]:
        """The same, going on beside the test, which reads what it prints."""
        return subprocess.Popen([*self.enter(node), *command], stdout=subprocess.PIPE, text=True, **options)

    def enter(self, node: str) -> list[str]:
        """What a command is to follow, to be run in the node."""
        pid = self.pids()[node]
        return ["nsenter", f"--target={pid}", *NAMESPACES, f"--wd=/proc/{pid}/root"]


def take_away(directory: str) -> None:
    """Take a lab away, without a playbook: at the end of the tests, and after tests that were killed."""
    lab_module({"state": "absent", "directory": directory})


def lab_module(options: dict[str, Any]) -> dict[str, Any]:
    """What the module returns when it is run directly."""
    command = [sys.executable, "-m", "ansible_collections.podnet.baremetal.plugins.modules.lab"]
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_diff": True}})
    done = subprocess.run(command, input=arguments, env=module_environment(), capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def module_environment() -> dict[str, str]:
    return {**environment(), "PYTHONPATH": str(CHECKOUT / "build" / "collections")}
