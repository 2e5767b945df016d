# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of verify_report, for its action and for its module. Pure."""

from __future__ import annotations

from typing import Any

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "str"},
    "cluster_cidrs": {"type": "list", "elements": "str"},
    "service_cidrs": {"type": "list", "elements": "str"},
    "vni": {"type": "int"},
    "port": {"type": "int"},
    "mtu": {"type": "int"},
    "ledger": {"type": "path"},
    "fail": {"type": "bool", "default": True},
}
