# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of pod_subnet: plans on the controller, from the inventory alone, and contacts no host. Does I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, RULES, change_of
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import inventory_hosts
from ansible_collections.podnet.baremetal.plugins.plugin_utils._ledger_action import LedgerAction, Target


class ActionModule(LedgerAction):
    """Plans for the hosts of the inventory, or gives a subnet back."""

    def target(self, variables: Mapping[str, Any]) -> Target:
        _result, parameters = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENT_SPEC, **RULES)
        if parameters["state"] == "present" and parameters["hosts"] is None:
            parameters["hosts"] = list(inventory_hosts(variables))
        return lambda: self.ledger(parameters, change_of(parameters))
