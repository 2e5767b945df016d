# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One nftables table as a target: read, compared in nft's own spelling, and loaded in one transaction. I/O through nft(8)."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock

CLONE_NEWNET = 0x40000000  # sched.h
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


@dataclass(frozen=True)
class TableChange:
    """The table as it is and as it is to be, each as `nft list` prints it ("" for no table)."""

    family: str
    name: str
    before: str
    after: str

    @property
    def command(self) -> str:
        """What nft reads to get there."""
        return _replacement(f"table {self.family} {self.name}", self.after)


@dataclass(frozen=True)
class NftTable:
    """What is wanted of one table: these rules and no others, or, for None, no such table."""

    node: str
    family: str
    table: str
    rules: str | None

    @property
    def name(self) -> str:
        return f"table {self.family} {self.table}"

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[TableChange]:
        before, after = self._list(), self._spelled()
        return [] if before == after else [TableChange(self.family, self.table, before, after)]

    def apply(self, changes: Sequence[TableChange]) -> None:
        for change in changes:
            answer = self._nft("-f", "-", given=change.command)
            if answer.returncode:
                raise Failed(f"{self.node}: nft refused {self.name}, and the one before is in force: {answer.stderr.strip()}")

    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def text(self) -> str:
        """What nft reads to make the wanted table, in whatever place."""
        return _replacement(self.name, f"{self.name} {{\n{self.rules}\n}}\n")

    def _spelled(self) -> str:
        """The wanted table as this nft prints it, which varies by version: loaded and listed in a network namespace of its own."""
        if self.rules is None:
            return ""
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(self._load_and_list, f"{self.name} {{\n{self.rules}\n}}").result()

    def _load_and_list(self, text: str) -> str:
        # unshare(2) moves this thread alone, and nft with it; the namespace goes when both have ended.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise Refused(f"{self.node}: checking nft rules takes a network namespace: {os.strerror(ctypes.get_errno())}; run as root.")
        answer = self._nft("-f", "-", given=text)
        if answer.returncode:
            raise Refused(f"{self.node}: nft does not take the rules of {self.name}: {answer.stderr.strip()}")
        return self._list()

    def _list(self) -> str:
        answer = self._nft("--stateless", "list", "table", self.family, self.table)
        if answer.returncode and "No such file or directory" not in answer.stderr:
            raise Refused(f"{self.node}: nft list {self.name}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _nft(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        try:
            return subprocess.run(["nft", *arguments], input=given, capture_output=True, text=True, env=environment, check=False)
        except FileNotFoundError:
            raise Refused(
                f"{self.node}: there is no nft on this node: install the package nftables, or set podnet_masquerade to false."
            ) from None


def _replacement(table: str, after: str) -> str:
    """All of it takes effect at once, or nothing does (nft(8), -f). Adding first makes the deletion succeed in any case."""
    return "\n".join([table, f"delete {table}", *([after] if after else [])])


def nft_target(node: str, options: dict[str, Any]) -> NftTable:
    """The target of `nft_table`."""
    if not NAME.fullmatch(options["name"]):
        raise refuse(node, "name", repr(options["name"]), "expected at most 31 lower-case letters, digits, '_' or '-'")
    return NftTable(node, options["family"], options["name"], options["rules"] if options["state"] == "present" else None)
