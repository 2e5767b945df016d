# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that change the ledger have in common: where it is, and the copy for later tasks. Does I/O on the ledger."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LedgerFile
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import EtcdLedger, settled, target
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import leave_copy

ETCD_FILES = ("etcd_ca", "etcd_certificate", "etcd_key")
Target = Callable[[], "LedgerFile | EtcdLedger"]


class LedgerAction(ControllerAction):
    """Brings a ledger to what its task wants."""

    @abstractmethod
    def target(self, variables: Mapping[str, Any]) -> Target:
        """What makes the ledger that the task wants, anew for each try."""

    def warnings(self) -> list[str]:
        """What the action has to say beside the ledger's own warnings, once it is settled."""
        return []

    def ledger(self, options: Mapping[str, Any], change: Callable[..., Ledger | None]) -> LedgerFile | EtcdLedger:
        """The ledger where the task says that it is, and what `change` makes of it."""
        place = etcd_place(options["ledger"])
        if not place:
            return LedgerFile(self._loader.path_dwim(options["ledger"]), change, brief=bool(options["brief"]))
        files = {option: self._loader.path_dwim(options[option]) for option in ETCD_FILES if options[option]}
        return target(place, {**options, **files}, change)

    def work(self, variables: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        ledger, outcome = settled(self.target(variables), check=check)
        result = outcome.result(diff=True)
        # etcd is asked once a run: what later tasks need is a file, too.
        copied = isinstance(ledger, EtcdLedger) or (check and bool(outcome.changes))
        warnings = [*result.get("warnings", ()), *self.warnings()]
        said = {"warnings": warnings} if warnings else {}  # ansible-core before 2.19 returns an empty list, too
        return {**result, "ledger": leave_copy(ledger.name, ledger.planned if copied else None), **said}
