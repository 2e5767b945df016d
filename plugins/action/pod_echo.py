# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of pod_echo: the short road to the node."""

from __future__ import annotations

from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Runs on the node what the module runs."""

    MODULE = Module("pod_echo")
