# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of pod_subnet: plans on the controller, from the inventory alone, and contacts no host. Does I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, RULES, LedgerFile, target
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _etcd_ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import EtcdLedger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import inventory_hosts
from ansible_collections.podnet.baremetal.plugins.plugin_utils._ledger_action import LedgerAction, Target
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place

ETCD_FILES = ("etcd_ca", "etcd_certificate", "etcd_key")


class ActionModule(LedgerAction):
    """Plans for the hosts of the inventory, or gives a subnet back."""

    def target(self, variables: Mapping[str, Any]) -> Target:
        _, parameters = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENT_SPEC, **RULES)
        if parameters["state"] == "present" and parameters["hosts"] is None:
            parameters["hosts"] = list(inventory_hosts(variables))
        return lambda: self._ledger(parameters)

    def _ledger(self, parameters: Mapping[str, Any]) -> LedgerFile | EtcdLedger:
        place = etcd_place(parameters["ledger"])
        if not place:
            return target({**parameters, "ledger": self._loader.path_dwim(parameters["ledger"])})
        files = {option: self._loader.path_dwim(parameters[option]) for option in ETCD_FILES if parameters[option]}
        return _etcd_ledger.target(place, {**parameters, **files})
