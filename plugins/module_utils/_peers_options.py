# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of vxlan_peers, for its module and its action. No I/O."""

from __future__ import annotations

from typing import Any

PEER: dict[str, Any] = {
    "node": {"type": "str", "required": True},
    "subnets": {"type": "list", "elements": "str", "required": True},
    "underlay": {"type": "str", "required": True},
    "mac": {"type": "str", "required": True},
}

ARGUMENTS: dict[str, Any] = {
    "device": {"type": "str", "default": "flannel.1"},
    "ledger": {"type": "path"},
    "peers": {"type": "list", "elements": "dict", "options": PEER},
    "plan": {"type": "str"},
    "own": {"type": "str"},
    "purge": {"type": "bool", "default": False},
    "nexthops": {"type": "str", "choices": ["always", "auto", "never"], "default": "auto"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [("ledger", "peers", "plan")],
    "required_one_of": [("ledger", "peers", "plan")],
}
