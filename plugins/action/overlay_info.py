# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of overlay_info: tells the node what the ledger has for it. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Puts what follows from the lease in the place of the ledger's path."""

    MODULE = Module("overlay_info")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        try:
            wanted = self._wanted(options["ledger"], options["node"]) if options["ledger"] else {}
        except Refused as error:
            return {"failed": True, "msg": str(error), "commands": []}
        return self.sent({**options, "ledger": None, **wanted}, task_vars)

    def _wanted(self, ledger: str, node: str) -> dict[str, Any]:
        lease, plan = planned(self._loader.path_dwim(ledger), node)
        addresses = [f"{address}/{128 if ':' in address else 32}" for address in lease["vtep_addresses"]]
        second = {"local6": lease["underlay6"], "mac6": lease["mac6"]} if "underlay6" in lease else {}
        ranges = {"cluster_cidrs": lease["cluster_cidr"], "reserved": lease["reserved"]}
        return {"plan": plan, "local": lease["underlay"], "mac": lease["mac"], **second, "addresses": addresses, **ranges}
