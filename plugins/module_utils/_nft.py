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
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, about, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._forwarding import FAMILIES, UFW_SAYS, forwarding
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import packed_mac
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock
from ansible_collections.podnet.baremetal.plugins.module_utils._peer_sets import SetChange, added, change_sets, set_changes
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import unpack

CLONE_NEWNET = 0x40000000  # sched.h
HOOK = re.compile(r"^\t\ttype .* hook .*\n", re.MULTILINE)
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


@dataclass(frozen=True)
class TableChange:
    """The table as it is and as it is to be, each as `nft list` prints it ("" for no table). `elements` come with it, in the same load."""

    family: str
    name: str
    before: str
    after: str
    elements: str

    @property
    def command(self) -> str:
        """What nft reads to get there: all of it takes effect at once, or nothing does (nft(8), -f)."""
        table = f"table {self.family} {self.name}"
        # Adding first makes the deletion succeed whether or not the table is there.
        anew = [table, f"delete {table}"]
        return "\n".join([*(self._in_place(table) or anew), *filter(None, (self.after, self.elements))])

    def _in_place(self, table: str) -> list[str]:
        """What makes room for other rules where the sets and hooks stay; nothing where they do not.

        A packet that is among the old rules at that moment finds a set that goes empty already (a lookup asks for the generation anew,
        nft_genmask_cur()) and is dropped: 3 packets in 600 loads were, with one every 0.1 ms. A set that stays is never empty.
        """
        old, new = _parts(self.before), _parts(self.after)
        both = old.keys() & new.keys()
        gone = old.keys() - new.keys()
        if not both or any(old[part] != new[part] for part in both) or any(kind != "chain" for kind, _name in gone):
            return []
        return [f"flush {table}", *sorted(f"delete chain {self.family} {self.name} {name}" for _kind, name in gone)]


@dataclass(frozen=True)
class NftTable:
    """What is wanted of one table: these rules and no others, or, for None, no such table.

    Where it has `elements`, what its sets hold is somebody else's to keep (`vxlan_peers`), and is not compared.
    """

    node: str
    family: str
    table: str
    rules: str | None
    elements: str | None = None

    @property
    def name(self) -> str:
        return f"table {self.family} {self.table}"

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[TableChange]:
        before, after = self._list(), self._spelled()
        return [] if before == after else [TableChange(self.family, self.table, before, after, self.elements or "")]

    def apply(self, changes: Sequence[TableChange]) -> None:
        for change in changes:
            answer = self._nft("-f", "-", given=change.command)
            if answer.returncode:
                raise Failed(f"{self.node}: nft refused {self.name}, and the one before is in force: {answer.stderr.strip()}")

    def facts(self) -> dict[str, Any]:
        legacy = {family: self._run(f"{name}tables", "-S").stdout for family, name in FAMILIES.items() if _is_legacy(name)}
        return {"forwarding": forwarding(self._run("nft", "list", "chains").stdout, legacy, _read(UFW_SAYS))}

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
        options = ["--stateless"] if self.elements is None else ["--stateless", "--terse"]
        answer = self._nft(*options, "list", "table", self.family, self.table)
        if answer.returncode and "No such file or directory" not in answer.stderr:
            raise Refused(f"{self.node}: nft list {self.name}: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _nft(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return self._run("nft", *arguments, given=given)
        except FileNotFoundError:
            raise Refused(
                f"{self.node}: there is no nft on this node: install the package nftables, or do without it, with podnet_masquerade: false "
                "and podnet_firewall: none."
            ) from None

    @staticmethod
    def _run(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)


@dataclass(frozen=True)
class Admission:
    """These underlay addresses are let in beside those that are, where the table `inet podnet` is there."""

    node: str
    underlays: frozenset[bytes]
    name: str = "table inet podnet"

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[SetChange]:
        with about(self.node):
            return [step for step in set_changes(self.underlays) if not step.delete]

    def apply(self, changes: Sequence[SetChange]) -> None:
        with about(self.node):
            change_sets(changes)

    def facts(self) -> dict[str, Any]:
        return {}


def _parts(listing: str) -> dict[tuple[str, str], str]:
    """What a table consists of, by kind and name: of a chain what says where it hooks, of everything else all that is said."""
    parts = re.findall(r"^\t(\w+) (\S+) \{\n(.*?)^\t\}", listing, re.MULTILINE | re.DOTALL)
    return {(kind, name): "".join(HOOK.findall(body)) if kind == "chain" else body for kind, name, body in parts}


def _is_legacy(family: str) -> bool:
    """Whether iptables has its table `filter` without nftables. To ask iptables itself would make it where it is not (iptable_filter.c)."""
    return "filter" in _read(f"/proc/net/{family}_tables_names").splitlines()


def _read(path: str) -> str:
    """What a file says, nothing where there is none."""
    with suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        return file.read()
    return ""


def nft_target(node: str, options: dict[str, Any]) -> Target[Any]:
    """The target of `nft_table`: the table or, where nothing is said of its rules, only whom it lets in."""
    if not NAME.fullmatch(options["name"]):
        raise refuse(node, "name", repr(options["name"]), "expected at most 31 lower-case letters, digits, '_' or '-'")
    own = set(map(packed_mac, options["own"]))
    plan = unpack(options["plan"]) if options["plan"] else ()
    underlays = frozenset(row[1] for row in plan if row[0] not in own)
    rules = options["rules"] if options["state"] == "present" else None
    if options["state"] == "present" and rules is None:
        return Admission(node, underlays)
    return NftTable(node, options["family"], options["name"], rules, added(underlays) if options["plan"] else None)
