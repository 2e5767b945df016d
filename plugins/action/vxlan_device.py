# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of vxlan_device: takes from the ledger what the node's lease says of its VTEP. I/O on the ledger."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned


class ActionModule(ActionBase):
    """Fills in the options that follow from the lease, then runs the module, and returns the lease for the tasks after it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = dict(self._task.args)
        ledger = options.pop("ledger", None)
        if not ledger or options.get("state") == "absent":
            return {**result, **self._execute_module(module_args=options, task_vars=task_vars)}
        try:
            lease = planned(self._loader.path_dwim(ledger), options.get("node")).lease
        except Refused as error:
            return {**result, "failed": True, "msg": str(error), "commands": []}
        options = {**_vtep(lease), **options}
        return {**result, **self._execute_module(module_args=options, task_vars=task_vars), "lease": lease}


def _vtep(lease: dict[str, Any]) -> dict[str, Any]:
    addresses = [f"{address}/{128 if ':' in address else 32}" for address in lease["vtep_addresses"]]
    return {"local": lease["underlay"], "mac": lease["mac"], "addresses": addresses}
