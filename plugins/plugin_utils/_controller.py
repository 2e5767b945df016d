# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions that work in Ansible's own process have in common: check mode and errors. No I/O of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import told


class ControllerAction(ActionBase):
    """Runs on the controller, and contacts no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return {**result, **told(partial(self.work, task_vars or {}, check=self._task.check_mode))}

    @abstractmethod
    def work(self, variables: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """The result of the task. Raises Refused or Failed."""
