# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that is killed at each system call by which it writes files, and the next run. I/O: processes, temporary directories, nft."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _generation
from ansible_collections.podnet.baremetal.plugins.module_utils._cni import configuration
from ansible_collections.podnet.baremetal.plugins.module_utils._files import files_target
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import Generation
from ansible_collections.podnet.baremetal.plugins.module_utils._nft import nft_target
from killed import killed_after
from node import Node, commands

READ_BY_RUNTIMES = (".conf", ".conflist", ".json")
RULES = "chain input {{\n type filter hook input priority {priority}; policy accept;\n}}"
CONFLIST: dict[str, Any] = {
    "form": "bridge",
    "content": None,
    "name": "cbr0",
    "cni_version": "0.3.1",
    "subnets": ["172.20.0.0/24"],
    "cluster_cidrs": ["172.20.0.0/16"],
    "bridge": "cni0",
    "masquerade": True,
    "plugin_directory": "/usr/lib/cni",
    "require_plugins": True,
    "shadows": "refuse",
    "runtime": "none",
    "runtime_config": "",
    "mode": "0600",
}


def files(directory: Path, text: str | None) -> list[str]:
    """One file in a directory that is there, one in two that have to be made."""
    paths = [directory / "one.conf", directory / "new" / "below" / "two.conf"]
    wanted = [{"path": str(path), "content": text, "mode": "0644", "once": False} for path in paths]
    return commands(files_target("node1", {"files": wanted, "state": "absent" if text is None else "present"}))


def conflist(directory: Path, text: str | None) -> list[str]:
    options = {**CONFLIST, "path": str(directory / "net.d" / "10-flannel.conflist"), "mtu": len(text or "")}
    return commands(configuration({**options, "state": "absent" if text is None else "present"}, "node1"))


def table(_directory: Path, text: str | None) -> list[str]:
    rules = RULES.format(priority=len(text or ""))
    state = "absent" if text is None else "present"
    options: dict[str, Any] = {"name": "killed", "family": "inet", "rules": rules, "plan": None, "own": [], "state": state}
    return commands(nft_target("node1", options))


Module = Callable[[Path, "str | None"], list[str]]
OLD, NEW = "o" * 1000, "n" * 1100


@dataclass(frozen=True)
class Life:
    """What is there before, what is to be, and how many system calls lie between two kills.

    nft is a program of its own, whose steps are one transaction of the kernel, and takes longer.
    """

    module: Module
    old: str | None
    new: str | None
    step: int = 1


LIVES = {
    "files come": Life(files, None, NEW),
    "files change": Life(files, OLD, NEW, step=4),
    "files go": Life(files, OLD, None, step=8),
    "a conflist comes": Life(conflist, None, NEW, step=3),
    "a conflist changes": Life(conflist, OLD, NEW, step=3),
    "a conflist goes": Life(conflist, OLD, None, step=3),
    "a table changes": Life(table, OLD, NEW, step=30),
}


def found(directory: Path) -> dict[str, str]:
    """Every file and directory below it, with its mode and text."""
    paths = sorted(directory.rglob("*"))
    return {str(path.relative_to(directory)): f"{path.stat().st_mode:o} {'' if path.is_dir() else path.read_text()}" for path in paths}


@pytest.mark.parametrize("name", LIVES)
def test_a_module_killed_at_any_system_call_leaves_old_or_new_and_the_next_run_finishes(node: Node, tmp_path: Path, name: str) -> None:
    life = LIVES[name]
    new = partial(life.module, tmp_path, life.new)
    life.module(tmp_path, life.old)
    before, wanted, after = found(tmp_path), new(), found(tmp_path)
    kills, ends = 0, set[int]()
    for stops in range(1, 10_000, life.step):
        life.module(tmp_path, life.old)
        alive, _told = killed_after(stops, lambda: "; ".join(new()))
        kills += alive
        for path, content in found(tmp_path).items():
            whole = content in (before.get(path), after.get(path))
            assert whole or not path.endswith(READ_BY_RUNTIMES), f"{path} is torn at stop {stops}"
        left = [command for command in new() if "podnet-" not in command]
        ends.add(len(left))
        assert set(left) <= set(wanted)
        assert (found(tmp_path), new()) == (after, []), f"at stop {stops}"
        if not alive:
            break
    sys.stdout.write(f"{name}: killed at {kills} system calls\n")
    assert {0, len(wanted)} <= ends, "some were killed before, some after"


def test_a_node_killed_while_it_writes_a_generation_down_knows_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_generation, "RECORD", str(tmp_path / "podnet.json"))
    ledgers = [Generation(number, ("172.20.0.0/16",)) for number in (6, 7)]
    seen = []
    for stops in range(1, 1000):
        ledgers[0].record()
        alive, _told = killed_after(stops, lambda: str(ledgers[1].record()))
        known = _generation.recorded("node1")
        assert known in ledgers
        seen.append(known)
        if not alive:
            break
    assert (seen[0], seen[-1]) == (ledgers[0], ledgers[1])
    ledgers[1].record()
    assert os.listdir(tmp_path) == ["podnet.json"]
