# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a node's firewall lets in: the sets of its nftables table with the underlay addresses of its peers. I/O; standard library only.

They are read by packed messages, since each run does so (linux/netfilter/nf_tables.h), and changed by nft(8).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import ATTRIBUTE, Table, address_text
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import RouteSocket

TABLE = "podnet"
SETS = {4: "peers", 16: "peers6"}  # by the size of an address
NETLINK_NETFILTER = 12
NFPROTO_INET = 1
GET_ELEMENTS = 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
LIST_TABLE, LIST_SET = 1, 2  # NFTA_SET_ELEM_LIST_*
HEADER = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
NFT = ["env", "nft", "-f", "-"]
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class SetChange(NamedTuple):
    """Addresses of one family that are to be let in, or are not any more."""

    addresses: tuple[bytes, ...]
    delete: bool = False

    @property
    def text(self) -> str:
        """What nft reads."""
        return _elements("delete" if self.delete else "add", self.addresses)

    @property
    def command(self) -> str:
        return f"nft {self.text}"

    @property
    def before(self) -> str:
        return f"nft {_elements('add', self.addresses)}" if self.delete else ""

    @property
    def after(self) -> str:
        return "" if self.delete else self.command


class FileChange(NamedTuple):
    """The file that is loaded at boot, as it is to be. A diff names it alone: its text is what the sets hold."""

    path: str
    text: str
    delete: bool = False
    before: str = ""

    @property
    def command(self) -> str:
        return f"install -m 0644 /dev/stdin {self.path}"

    @property
    def after(self) -> str:
        return self.path


Step = Union[SetChange, FileChange]


class PortChange(NamedTuple):
    """VXLAN at this port is asked of the table's own chain, too, until the table is loaded anew. Chains that are there stay as they are."""

    port: int

    @property
    def command(self) -> str:
        return f"nft insert rule inet {TABLE} input udp dport {self.port} jump vxlan"

    @property
    def before(self) -> str:
        return ""

    @property
    def after(self) -> str:
        return self.command

    def make(self) -> None:
        chains = "input { type filter hook input priority filter; policy accept; }", "vxlan"
        text = "\n".join([*(f"add chain inet {TABLE} {chain}" for chain in chains), self.command.removeprefix("nft ")])
        if words := _load(text):
            raise Failed(f"nft refused `{self.command}`: {words}")


class PeerSets(NamedTuple):
    """The sets hold these underlay addresses, where the table is there, and the file at `path` adds them at boot."""

    path: str
    underlays: frozenset[bytes]

    def drift(self) -> list[Step]:
        """New addresses, the file, then addresses that go."""
        sets = list(set_changes(self.underlays))
        return [*(step for step in sets if not step.delete), *self._file(), *(step for step in sets if step.delete)]

    def apply(self, steps: Sequence[Step]) -> None:
        """Make changes of one direction."""
        for step in steps:
            if isinstance(step, FileChange):
                _write(step.path, step.text)
        change_sets([step for step in steps if isinstance(step, SetChange)])

    def _file(self) -> Iterator[FileChange]:
        before, after = "", added(self.underlays)
        with suppress(FileNotFoundError), open(self.path, encoding="utf-8") as file:
            before = file.read()
        if before != after:
            yield FileChange(self.path, after)


def set_changes(underlays: Collection[bytes]) -> Iterator[SetChange]:
    """What makes the sets hold these underlay addresses and no others, where the table is there."""
    for size in SETS:
        there, wanted = _there(size), {address for address in underlays if len(address) == size}
        if there is not None and wanted - there:
            yield SetChange(tuple(sorted(wanted - there)))
        if there is not None and there - wanted:
            yield SetChange(tuple(sorted(there - wanted)), delete=True)


def change_sets(steps: Iterable[SetChange]) -> None:
    """Make the changes in one transaction."""
    text = "\n".join(step.text for step in steps)
    words = _load(text) if text else ""
    if words:
        raise Failed(f"nft refused `{text}`, and the sets are as they were: {words}")


def added(underlays: Iterable[bytes]) -> str:
    """The nft text that adds the addresses to the sets."""
    families = ([address for address in sorted(underlays) if len(address) == size] for size in SETS)
    return "# The underlay addresses of the peers.\n" + "".join(f"{_elements('add', each)}\n" for each in families if each)


def admitted() -> list[str] | None:
    """The underlay addresses that the sets hold now; None where there are no sets."""
    sets = [found for found in map(_there, SETS) if found is not None]
    return [address_text(address) for found in sets for address in sorted(found)] if sets else None


def _elements(verb: str, addresses: Sequence[bytes]) -> str:
    return f"{verb} element inet {TABLE} {SETS[len(addresses[0])]} {{ {', '.join(map(address_text, addresses))} }}"


def _there(size: int) -> set[bytes] | None:
    """What is in the set for addresses of this size; None where there is no such set."""
    body = HEADER.pack(NFPROTO_INET, 0, 0) + _name(LIST_TABLE, TABLE) + _name(LIST_SET, SETS[size])
    try:
        parts = RouteSocket(NETLINK_NETFILTER).dump(Table(GET_ELEMENTS, body))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return {address for part in parts for address in _addresses(part[len(body) :], size)}


def _addresses(elements: bytes, size: int) -> Iterator[bytes]:
    """Of a list of elements: each is a list that begins with its key, a list that begins with its value (nf_tables_fill_setelem())."""
    offset = ATTRIBUTE.size
    while offset < len(elements):
        start = offset + 3 * ATTRIBUTE.size
        yield elements[start : start + size]
        offset += ATTRIBUTE.unpack_from(elements, offset)[0]


def _name(kind: int, name: str) -> bytes:
    value = name.encode() + b"\0"
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) & 3)


def _load(text: str) -> str:
    """Have nft take a text, all at once or not at all. What it says against it, "" for nothing.

    Without subprocess, whose import would cost every run more than the look at the sets.
    """
    given, said = (os.memfd_create(name) for name in ("given", "said"))
    try:
        os.write(given, text.encode())
        os.lseek(given, 0, os.SEEK_SET)
        ends = [(os.POSIX_SPAWN_DUP2, file, number) for file, number in ((given, 0), (said, 1), (said, 2))]
        process = os.posix_spawn("/usr/bin/env", NFT, ENVIRONMENT, file_actions=ends)
        _process, status = os.waitpid(process, 0)
        return os.pread(said, 4096, 0).decode(errors="replace").strip() or f"status {status}" if status else ""
    finally:
        os.close(given)
        os.close(said)


def _write(path: str, text: str) -> None:
    """A reader finds the old text or the new one, whole. The name is one that node_files takes away with the file if this is killed."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.podnet-{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error.strerror}.") from error
