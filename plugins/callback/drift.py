# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback plugin that writes down what a run under --check would change. I/O: its two files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: notification
short_description: What a run under --check would change, as JSON and for Prometheus
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Writes down, at the end of a run under C(--check), which tasks said that they would change a node, with the commands that they would do.
  - It looks at the results of the run and contacts nobody. A run without C(--check) leaves the files of the last one as they are.
  - The playbook C(podnet.baremetal.nightly) needs it, and makes of it an exit code.
requirements:
  - enable it in the configuration, C(callbacks_enabled=podnet.baremetal.drift)
options:
  json:
    description: The file with what would change on each node. It is removed when a run under C(--check) starts.
    type: path
    default: podnet-drift.json
    env:
      - name: PODNET_DRIFT_JSON
    ini:
      - section: callback_drift
        key: json
  textfile:
    description: The file for the textfile collector of node_exporter, which must end in C(.prom). None by default.
    type: path
    env:
      - name: PODNET_DRIFT_TEXTFILE
    ini:
      - section: callback_drift
        key: textfile
  cluster:
    description: The name of the cluster, which is a label of every metric.
    type: str
    default: kubernetes
    env:
      - name: PODNET_DRIFT_CLUSTER
    ini:
      - section: callback_drift
        key: cluster
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.plugin_utils._drift import Answer, drift, metrics

# Where later lookups of the run find the path of the report: ansible.builtin.config knows no options of a collection's plugins (2.19).
REPORT = "PODNET_DRIFT_REPORT"
# A play with this variable reads the report. What its tasks say is about the report, and not part of it.
READS_THE_REPORT = "nightly_report"


class CallbackModule(CallbackBase):
    """Keeps what was answered, and writes when a play reads the report and at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "podnet.baremetal.drift"
    CALLBACK_NEEDS_ENABLED = True
    get_option: Callable[..., Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answers: list[Answer] = []
        self._reading = False

    def v2_playbook_on_start(self, _playbook: Any) -> None:
        if context.CLIARGS["check"]:
            os.environ[REPORT] = self.get_option("json")
            # One that is left over must not be taken for what this run found, whatever becomes of it.
            with suppress(FileNotFoundError):
                os.unlink(self.get_option("json"))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._reading = READS_THE_REPORT in play.vars
        if self._reading:
            self._write()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._keep(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: Any = None) -> None:
        if not ignore_errors:
            self._keep(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._keep(result, unreachable=True)

    def v2_playbook_on_stats(self, _stats: Any) -> None:
        self._write()

    def _keep(self, result: Any, **how: bool) -> None:
        if not self._reading:
            task = result._task
            self._answers.append(Answer(result._host.get_name(), task.action, task.get_name(), {**result._result, **how}))

    def _write(self) -> None:
        if not context.CLIARGS["check"]:
            return
        now = time.time()
        made = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        report = drift(self._answers, self.get_option("cluster"), made)
        write_atomically(self.get_option("json"), json.dumps(report, indent=1) + "\n", 0o644)
        if self.get_option("textfile"):
            write_atomically(self.get_option("textfile"), metrics(report, now), 0o644)
