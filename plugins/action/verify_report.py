# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of verify_report: makes one report of what all hosts returned, on the controller. I/O: its files, and the terminal."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import read
from ansible_collections.podnet.baremetal.plugins.module_utils._report_arguments import ARGUMENTS
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _report_page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._controller import ControllerAction
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report import figures, verdict
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_document import POD, PROBE, TABLES, document
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_junit import junit
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_page import page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_table import table
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document

MODE = 0o644
NETWORK = ("cluster_cidrs", "service_cidrs", "vni", "port", "mtu")


class ActionModule(ControllerAction):
    """Runs once."""

    def work(self, variables: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        _result, options = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENTS)
        found = self._document(options, variables)
        directory = self._loader.path_dwim(options["directory"])
        files = [] if check else _written(directory, found)
        Display().display("\n" + table(found, shutil.get_terminal_size().columns) + "\n")
        for path in files:
            Display().display(path)
        wrong = options["fail"] and (figures(found).errors or figures(found).wrong)
        said = f"{verdict(found)}{f': see {files[-1]}' if files else ''}."
        return {"changed": False, "failed": bool(wrong), "msg": said, "files": files, "problems": found["problems"], "commands": []}

    def _document(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Document:
        hosts = options["hosts"] or variables["ansible_play_hosts_all"]
        known = _known(options, self._loader.path_dwim(options["ledger"]) if options["ledger"] else "")
        results = {host: _registered(variables["hostvars"][host]) for host in hosts}
        found = document(results, known, datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), round(_running(), 1))
        found["problems"] = problems(found)
        return found


def _known(options: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Of the network what the options say, else the ledger."""
    ledger = read(path) if path else None
    if path and not ledger:
        raise Refused(f"verify_ledger is {path}: there is no such file; name a ledger, or nothing.")
    planned = {"cluster_cidrs": ledger.network.cluster_cidrs, "service_cidrs": ledger.network.service_cidrs} if ledger else {}
    known = {name: options[name] or planned.get(name) for name in NETWORK}
    return {**known, "ledger": path, "generation": ledger.generation if ledger else 0}


def _registered(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: variables[name] for name in (POD, PROBE, TABLES) if name in variables and not variables[name].get("skipped")}


def _written(directory: str, found: Document) -> list[str]:
    """The paths of the files, the one for people last."""
    parts = Path(_report_page.__file__).with_name("report")
    texts = {
        "verification.json": json.dumps(found, indent=1) + "\n",
        "verification.xml": junit(found),
        "verification.html": page(found, {name: (parts / name).read_text(encoding="utf-8") for name in _report_page.FILES}),
    }
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise Refused(f"verify_report_directory is {directory}: it cannot be made: {error.strerror}; name one that can be.") from error
    for name, text in texts.items():
        write_atomically(os.path.join(directory, name), text, MODE)
    return [os.path.join(directory, name) for name in texts]


def _running() -> float:
    """Seconds since the start of ansible-playbook, whose fork this is; 0 where there is no /proc to say it (proc(5), starttime)."""
    with suppress(OSError):
        started = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]) - int(started) / os.sysconf("SC_CLK_TCK")
    return 0.0
