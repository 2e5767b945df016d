# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of vxlan_device: takes from the ledger what the node's lease says of its VTEP. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import located
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Fills in the options that follow from the lease, and returns the lease for the tasks after it."""

    MODULE = Module("vxlan_device")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = dict(given)
        ledger = options.pop("ledger", None)
        if not ledger or options.get("state") == "absent":
            return super().answer(options, task_vars)
        try:
            lease, plan = planned(located(ledger, self._loader.path_dwim), options["node"])
        except Refused as error:
            return {"failed": True, "msg": str(error), "commands": []}
        return {**super().answer({**_vtep(lease), "plan": plan, **options}, task_vars), "lease": lease}

    def sent(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """With a warning for a device that is made anew: site.yml looks in check mode first, and so says it before it is done."""
        answer = super().sent(options, task_vars)
        gone = [command.split()[-1] for command in answer.get("commands", ()) if command.startswith("ip link del ")]
        if gone and options["state"] == "present":
            said = f"{options['node']}: recreate {', '.join(gone)}: every pod of the node is cut off meanwhile."
            return {**answer, "warnings": [*answer.get("warnings", ()), said]}
        return answer


def _vtep(lease: dict[str, Any]) -> dict[str, Any]:
    addresses = [f"{address}/{128 if ':' in address else 32}" for address in lease["vtep_addresses"]]
    second = {"local6": lease["underlay6"], "mac6": lease["mac6"]} if "underlay6" in lease else {}
    shared = {"cluster_cidrs": lease["cluster_cidr"], "reserved": lease["reserved"], "generation": lease["generation"]}
    return {"local": lease["underlay"], "mac": lease["mac"], **second, "addresses": addresses, **shared}
