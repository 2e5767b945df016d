# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of mesh_probe: tells a node whom to ask, from what the play knows of all, and shows the answer. I/O: files of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import underlay_addresses
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import once
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad
from ansible_collections.podnet.baremetal.plugins.plugin_utils._sampling import sample

display = Display()


class ActionModule(ShortRoad):
    """Puts the targets in the place of the variable in which the play's hosts have their pods."""

    MODULE = Module("mesh_probe")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        targets, sampled = (options["targets"], {}) if options["targets"] is not None else self._sampled(options, task_vars)
        said = self.sent({**options, "targets": targets}, task_vars)
        display.display(str(said.get("msg", "")), stderr=True)  # what standard output gets may be somebody's JSON
        return {**said, **sampled}

    def _sampled(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """This node's targets, itself among them, and the share that they are of all."""
        identity = " ".join([str(self._task._uuid), *task_vars["ansible_play_batch"]])
        file = once("mesh", identity, lambda: json.dumps(self._mesh(options, task_vars)))
        mesh = json.loads(Path(file).read_text(encoding="utf-8"))
        node, targets = options["node"], mesh["targets"]
        each = options["sample"] if len(targets) > options["full_mesh"] else 0
        others = sample(list(targets), node, each, mesh["run"])
        counts = {"tested": len(targets) * len(others), "pairs": len(targets) * (len(targets) - 1)}
        return [targets[name] for name in (node, *others)], {"sample": {"each": each, "run": mesh["run"] if each else 0, **counts}}

    def _mesh(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """What all nodes are asked of, looked up once a run: `hostvars` of every host for every host would be quadratic."""
        names = task_vars["ansible_play_batch"]
        targets = {name: self._target(name, task_vars["hostvars"][name], options["pods"]) for name in names}
        return {"targets": targets, "run": self._run(options)}

    @staticmethod
    def _target(name: str, of_host: Mapping[str, Any], variable: str) -> dict[str, Any]:
        found = of_host.get(variable) or {}
        pod = found.get("pod") or {"addresses": []}
        addresses = underlay_addresses(name, of_host)
        return {"node": name, "pods": pod["addresses"], "gateways": found.get("gateways", []), "addresses": addresses}

    def _run(self, options: Mapping[str, Any]) -> int:
        """The one after that of the previous report."""
        if options["run"] is not None:
            return int(options["run"])
        with suppress(OSError, ValueError, LookupError, TypeError):  # the first run, or something else is there
            report = Path(self._loader.path_dwim(options["previous"] or "")).read_text(encoding="utf-8")
            return int(json.loads(report)["sample"]["run"]) + 1
        return 0
