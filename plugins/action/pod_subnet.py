# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of pod_subnet: plans on the controller, from the inventory alone, and contacts no host. Does I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, RULES, LedgerFile, target
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _etcd_ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import EtcdLedger, settled
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import inventory_hosts
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import leave_copy

ETCD_FILES = ("etcd_ca", "etcd_certificate", "etcd_key")


class ActionModule(ActionBase):
    """Runs in Ansible's own process."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, parameters = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENT_SPEC, **RULES)
        try:
            return {**result, **self._converged(parameters, task_vars or {})}
        except Refused as error:
            return {**result, "failed": True, "msg": str(error), "commands": []}
        except Failed as error:
            return {**result, "failed": True, "msg": str(error), "commands": list(error.done), "changed": bool(error.done)}

    def _converged(self, parameters: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["state"] == "present" and parameters["hosts"] is None:
            parameters["hosts"] = list(inventory_hosts(variables))
        check = self._task.check_mode
        ledger, outcome = settled(lambda: self._target(parameters), check=check)
        result = outcome.result(diff=True)
        # etcd is asked once a run: what later tasks need is a file, too.
        copied = isinstance(ledger, EtcdLedger) or (check and bool(outcome.changes))
        return {**result, "ledger": leave_copy(ledger.name, ledger.planned if copied else None)}

    def _target(self, parameters: Mapping[str, Any]) -> LedgerFile | EtcdLedger:
        place = etcd_place(parameters["ledger"])
        if not place:
            return target({**parameters, "ledger": self._loader.path_dwim(parameters["ledger"])})
        files = {option: self._loader.path_dwim(parameters[option]) for option in ETCD_FILES if parameters[option]}
        return _etcd_ledger.target(place, {**parameters, **files})
