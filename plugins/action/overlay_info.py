# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of overlay_info: tells the node what the ledger has for it. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import Planned, planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Puts what follows from the lease in the place of the ledger's path."""

    MODULE = Module("overlay_info")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        try:
            of_ledger = planned(self._loader.path_dwim(options["ledger"]), options["node"]) if options["ledger"] else None
        except Refused as error:
            return {"failed": True, "msg": str(error), "commands": []}
        found = self.sent({**options, "ledger": None, **(_wanted(of_ledger) if of_ledger else {})}, task_vars)
        return {**found, "lease": _of_lease(of_ledger.lease) if of_ledger else None} if options["datapath"] else found


def _wanted(of_ledger: Planned) -> dict[str, Any]:
    lease, plan = of_ledger
    addresses = [f"{address}/{128 if ':' in address else 32}" for address in lease["vtep_addresses"]]
    second = {"local6": lease["underlay6"], "mac6": lease["mac6"]} if "underlay6" in lease else {}
    ranges = {"cluster_cidrs": lease["cluster_cidr"], "reserved": lease["reserved"]}
    return {"plan": plan, "local": lease["underlay"], "mac": lease["mac"], **second, "addresses": addresses, **ranges}


def _of_lease(lease: Mapping[str, Any]) -> dict[str, Any]:
    """What of a lease the node is compared with."""
    both = {name: [lease[field] for field in (name[:-1], f"{name[:-1]}6") if field in lease] for name in ("underlays", "macs")}
    return {"subnets": lease["subnets"], **both}
