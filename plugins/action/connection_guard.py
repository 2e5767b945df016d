# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of connection_guard: gives the node the program that puts its network back, and confirms by a new connection. I/O."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Arms with the module itself as the program, or closes the connection before it confirms."""

    MODULE = Module("connection_guard")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        if options["state"] == "confirmed":
            self._connection.reset()  # one that is open may outlive what a new one would not come through
            return self.sent(options, task_vars)
        options["token"] = secrets.token_hex(8)
        program = self.MODULE.program({**options, "state": "put_back"}, check=False, diff=False)
        return self.sent({**options, "program": program.decode()}, task_vars)
