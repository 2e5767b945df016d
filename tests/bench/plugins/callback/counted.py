# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback plugin that says how many tasks ran on each host, and whether any changed or failed. I/O: writes a file."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: counted
type: aggregate
short_description: How many tasks ran on each host
author: podnet contributors (@podnet)
description:
  - Writes the names of the hosts with the number of tasks that ran on each to the file that E(BENCH_TASKS) names. Skipped tasks do not
    count.
options: {}
"""


class CallbackModule(CallbackBase):
    """Counts results."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "counted"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tasks: Counter[str] = Counter()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._tasks[result._host.get_name()] += 1

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {host: {"tasks": self._tasks[host], **stats.summarize(host)} for host in stats.processed}
        Path(os.environ["BENCH_TASKS"]).write_text(json.dumps(hosts), encoding="ascii")
