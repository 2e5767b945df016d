# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that puts its network back by itself unless somebody confirms that it can still be reached. I/O: ip(8), systemd, /run.

Each target is one moment: the timer is armed, its time has come, or somebody has confirmed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, take, write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_number, valid_subnet
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock, require_net_admin
from ansible_collections.podnet.baremetal.plugins.module_utils._saved import Setting, addresses, differences, links, routes, rules

PLACE = "/run/podnet-guard"  # goes with a reboot, as what it is about does
SAVED = f"{PLACE}/saved.json"
REPORT = f"{PLACE}/put-back"  # one line, which roles/host reads with what else it looks at
MODE = 0o600
LONGEST = 3600  # seconds
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class Guard:
    """What the three have in common."""

    name = "connection guard"

    def __init__(self, node: str) -> None:
        self.node = node

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        return {}


class Armed(Guard):
    """Unless somebody confirms, what is there now is there again after so many seconds, by the `program`."""

    def __init__(self, node: str, options: Mapping[str, Any]) -> None:
        super().__init__(node)
        require_net_admin(node)
        self._seconds = valid_number(node, "seconds", options["seconds"], 1, LONGEST)
        self._ranges = [valid_subnet(node, "ranges", each) for each in options["ranges"]]
        self._token = options["token"]
        self._program = options["program"]

    def drift(self) -> list[Step]:
        if _read(SAVED).get("token") == self._token:
            return []
        command = shlex.join(_timer(self._token, self._seconds))
        return [*_forgetting(self.node), Step(command, "", f"put back in {self._seconds} seconds what is there now", self._arm)]

    def _arm(self) -> None:
        saved = {"token": self._token, "ranges": self._ranges, "settings": look(self._ranges)}
        os.mkdir(PLACE, 0o700)
        write_atomically(SAVED, json.dumps(saved), MODE)
        write_atomically(_path(self._token), self._program, MODE)
        command = _timer(self._token, self._seconds)
        if command[0] == "systemd-run":
            _run(*command)
        else:
            none = subprocess.DEVNULL
            subprocess.Popen(command, env=ENVIRONMENT, cwd="/", start_new_session=True, stdin=none, stdout=none, stderr=none)


class Confirmed(Guard):
    """Nothing is armed any more. Fails where that is too late."""

    def drift(self) -> list[Step]:
        return _forgetting(self.node)


class PutBack(Guard):
    """What was saved under this token is there again. Nothing, when somebody has confirmed or armed anew."""

    def __init__(self, node: str, token: str) -> None:
        super().__init__(node)
        self._token = token
        self._told: list[str] = []

    def drift(self) -> list[Step]:
        saved = _read(SAVED)
        if saved.get("token") != self._token:
            return []
        commands = differences([Setting(*each) for each in saved["settings"]], look(saved["ranges"]))
        return [Step(command, "", command, partial(_do, command)) for command in commands]

    def apply(self, changes: Sequence[Step]) -> None:
        """Do all of it: one that is refused keeps no other back, and may not be refused when those are done."""
        done, refused = [], []
        for change in changes:
            self._tell(change.command)  # before it is done: who confirms must know of it
            try:
                change.act()
                done.append(change.command)
            except Failed as error:
                refused.append(str(error))
        left = [step.command for step in self.drift()]
        if left:
            self._tell(*refused)
            raise Failed(f"{self.node}: not as it was: {'; '.join([*refused, *left])}.", done, passing=True)

    def _tell(self, *lines: str) -> None:
        self._told += lines
        write_atomically(REPORT, "; ".join(self._told), MODE)


def guard_target(node: str, options: Mapping[str, Any]) -> Armed | Confirmed | PutBack:
    """The target of `connection_guard`."""
    if options["state"] == "armed":
        return Armed(node, options)
    return Confirmed(node) if options["state"] == "confirmed" else PutBack(node, options["token"])


def look(ranges: Sequence[str]) -> list[Setting]:
    """What the node has of links, addresses, rules and routes, but for addresses and routes within the ranges."""
    listing = _run("ip", "-json", "address", "show")
    found = [*links(listing), *addresses(listing, ranges)]
    for family in ["-4", "-6"] if os.path.exists("/proc/net/if_inet6") else ["-4"]:
        found += rules(_run("ip", family, "rule", "show"), family)
        found += routes(_run("ip", family, "-oneline", "route", "show", "table", "all"), family, ranges)
    return found


def _timer(token: str, seconds: int) -> list[str]:
    """The command that starts the program after so many seconds: a unit of systemd where that runs, which ends with no session."""
    program = [sys.executable, "-I", "-S", _path(token)]
    if os.path.isdir("/run/systemd/system"):  # sd_booted(3)
        unit = ["--quiet", "--collect", f"--unit={_unit(token)}", "--timer-property=AccuracySec=100ms"]
        return ["systemd-run", *unit, f"--on-active={seconds}", *program]
    return ["sh", "-c", 'sleep "$0" && exec "$@"', str(seconds), *program]


def _forgetting(node: str) -> list[Step]:
    if not os.path.isdir(PLACE):
        return []
    return [Step(f"rm -r {PLACE}", _reported() or f"{PLACE}/", "", partial(_forget, node))]


def _forget(node: str) -> None:
    """Stop the timer and take its files away. Raises Failed where it has put something back."""
    token, report = _read(SAVED).get("token"), _reported()
    if token:
        _stop(token)
    shutil.rmtree(PLACE)
    if report:
        raise Failed(f"{node}: nobody confirmed in time that this node can still be reached, so it has put its network back: {report}.")


def _stop(token: str) -> None:
    """End the timer. One that ends meanwhile finds nothing to do."""
    if os.path.isdir("/run/systemd/system"):
        subprocess.run(["systemctl", "--quiet", "stop", f"{_unit(token)}.timer"], env=ENVIRONMENT, capture_output=True, check=False)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            if _path(token) in file.read().split("\0"):
                os.killpg(int(pid), signal.SIGTERM)


def _unit(token: str) -> str:
    return f"podnet-guard-{token}"


def _path(token: str) -> str:
    return f"{PLACE}/{token}.py"


def _reported() -> str:
    """What was put back, "" for nothing."""
    with suppress(FileNotFoundError), open(REPORT, encoding="utf-8") as file:
        return file.read()
    return ""


def _read(path: str) -> dict[str, Any]:
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        return dict(json.load(file))
    return {}


def _do(command: str) -> None:
    _run(*command.split())


def _run(*command: str) -> str:
    """What a command prints. Raises Failed with its own words."""
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
