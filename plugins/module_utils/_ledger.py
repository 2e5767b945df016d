# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's file: read strictly, locked, written atomically, one node a line for git. Does I/O."""

from __future__ import annotations

import fcntl
import gc
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils import _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._lines import Line, lines_in
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE, KEPT, RETIRED, Host, Lease, Ledger, Network

LIMIT = 64 << 20
MODE = 0o644
NODES = ',\n  "nodes": {\n'
END = "\n  }\n}\n"
MERGE_MARKERS = ("<<<<<<< ", "=======", ">>>>>>> ")

ARGUMENT_SPEC: dict[str, Any] = {
    "ledger": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str"},
    "cluster_cidr": {"type": "raw"},
    "service_cidr": {"type": "raw"},
    "node_prefix": {"type": "raw"},
    "reserved": {"type": "raw"},
    "retire": {"type": "bool", "default": True},
    "leaving": {"type": "list", "elements": "str", "default": []},
    "brief": {"type": "bool", "default": False},
    "vni": {"type": "int", "default": 1},
    "port": {"type": "int", "default": 8472},
    "etcd_user": {"type": "str"},
    "etcd_password": {"type": "str", "no_log": True},
    "etcd_ca": {"type": "path"},
    "etcd_certificate": {"type": "path"},
    "etcd_key": {"type": "path"},
    "hosts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "underlay": {"type": "raw"},
            "subnet": {"type": "raw"},
            "node_prefix": {"type": "raw"},
            "mac": {"type": "raw"},
            "renamed_from": {"type": "str"},
        },
    },
}
RULES: dict[str, Any] = {
    "required_if": [("state", "present", ["cluster_cidr"]), ("state", "absent", ["name"])],
    "required_together": [("etcd_user", "etcd_password"), ("etcd_certificate", "etcd_key")],
}


@dataclass(frozen=True)
class LineChange:
    """One line of the ledger that comes, goes or changes."""

    command: str
    before: str
    after: str


class LedgerFile:
    """The file at `path` says what `change` makes of what it says now; None is a file that does not exist."""

    def __init__(self, path: str, change: Callable[[Ledger | None], Ledger | None], *, brief: bool = False) -> None:
        self.name = path
        self._brief = brief
        self._change = change
        # What the first look led to: after writing it, a second look would call every lease `kept`.
        self.planned: Ledger | None = None
        self._written: bytes | None = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        with nothing_is_garbage(), directory_lock(self.name):
            yield

    def drift(self) -> list[LineChange]:
        raw = _bytes(self.name)
        if raw is not None and raw == self._written:
            return []  # to read and to plan it again would come to the same
        with nothing_is_garbage():
            current = None if raw is None else parse(raw, self.name)
            wanted = self._change(current)
        if self.planned is None:
            self.planned = wanted
        return line_changes(current, wanted)

    def apply(self, changes: Sequence[LineChange]) -> None:
        if changes and self.planned is not None:
            written = text(self.planned)
            write_atomically(self.name, written, MODE)
            self._written = written.encode()

    def facts(self) -> dict[str, Any]:
        return {"ledger": self.name, **facts(self.planned, brief=self._brief)}


@contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """Of tens of thousands of leases all are needed to the end. To look for some that are not would take longer than to plan them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def directory_lock(path: str) -> Iterator[None]:
    """flock(2) on the directory of a file: no lock file to leave behind, in git least of all, and it dies with its process."""
    directory = _open_directory(path)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def target(parameters: Mapping[str, Any]) -> LedgerFile:
    """What the options of pod_subnet ask for of a file; `hosts` is a list by now."""
    return LedgerFile(parameters["ledger"], change_of(parameters), brief=bool(parameters["brief"]))


@nothing_is_garbage()
def change_of(parameters: Mapping[str, Any]) -> Callable[..., Ledger | None]:
    """What the same options make of a ledger, and of what is `occupied` beside it (`_plan.plan`)."""
    if parameters["state"] == "absent":
        return partial(_released, name=parameters["name"])
    network = Network.of(*(parameters[option] for option in ("cluster_cidr", "service_cidr", "node_prefix", "reserved")))
    leaving = set(parameters.get("leaving", ()))
    hosts = [host for host in _plan.hosts_of(parameters["hosts"]) if host.name not in leaving]
    if parameters.get("retire", True):
        return partial(_plan.plan, network=network, hosts=hosts)
    return partial(_planned_in_part, network=network, hosts=hosts, leaving=leaving)


def _planned_in_part(
    ledger: Ledger | None, network: Network, hosts: Sequence[Host], leaving: Collection[str], occupied: Iterable[str] = ()
) -> Ledger:
    return _plan.plan(ledger, network, _plan.and_the_others(ledger, hosts, leaving), occupied)


def _released(ledger: Ledger | None, name: str, **_occupied: object) -> Ledger | None:
    return ledger and _plan.release(ledger, name)


# --- the file -------------------------------------------------------------------------------------------------------------


def read(path: str) -> Ledger | None:
    """The ledger at `path`, or None if there is no such file. Raises Refused for anything that is not a whole and sound ledger."""
    raw = _bytes(path)
    return None if raw is None else parse(raw, path)


def _bytes(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT + 1)
    except FileNotFoundError:
        os.close(_open_directory(path))
        return None
    except OSError as error:
        raise Refused(f"{path}: the ledger cannot be read: {error.strerror}.") from error


def parse(raw: bytes, path: str) -> Ledger:
    """The ledger that a file's bytes are."""
    return _as_we_write_it(raw, path) or _as_a_person_may(raw, path)


def _as_we_write_it(raw: bytes, path: str) -> Ledger | None:
    """The ledger, if it has a node on each line as `text` writes it; None for what has to be looked at more closely."""
    try:
        text = raw.decode("ascii")
        start = text.index(NODES)
        if not text.endswith(END):
            return None
        lines = lines_in(text, start + len(NODES))
        empty = _plan.ledger_of({**json.loads(text[:start] + "}", object_pairs_hook=_distinct), "nodes": {}}, path)
        return _plan.ledger_with(empty, lines)
    except (ValueError, TypeError, RecursionError, Refused):
        return None


def _as_a_person_may(raw: bytes, path: str) -> Ledger:
    damage = _damage(raw)
    if damage:
        raise _damaged(path, damage)
    try:
        document = json.loads(raw, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    return _plan.ledger_of(document, path)


def _damage(raw: bytes) -> str:
    """What json.loads would not say, or say less plainly; "" for nothing."""
    if len(raw) > LIMIT:
        return f"it is larger than {LIMIT >> 20} MiB"
    if not raw.strip():
        return "it is empty"
    if raw.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark"
    if b"\0" in raw:
        return "it contains a NUL byte"
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 at byte {error.start}"
    marked = [number for number, line in enumerate(lines, 1) if line.startswith(MERGE_MARKERS)]
    return f"line {marked[0]} is a merge conflict that nobody has resolved" if marked else ""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"{json.dumps(name)} is there twice in one object")
        members[name] = value
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _damaged(path: str, why: str) -> Refused:
    return refuse(
        path, "the ledger", "damaged", f"{why}; restore it, from version control for example: an empty one would renumber every node"
    )


def _open_directory(path: str) -> int:
    directory = os.path.dirname(os.path.abspath(path))
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as error:
        # Not made here: a mistyped path would start an empty ledger, and with it renumber every node.
        raise refuse(path, "podnet_ledger", "in no directory", f"make {directory} first, or correct the path") from error
    except OSError as error:
        raise Failed(f"{directory}: the directory of the ledger cannot be opened: {error.strerror}.") from error


# --- its text -------------------------------------------------------------------------------------------------------------


def text(ledger: Ledger) -> str:
    """The file's text: the same ledger always gives the same bytes."""
    head = f'{{\n  "generation": {ledger.generation},\n  {_network_line(ledger)}'
    if not ledger.lines:
        return head + ',\n  "nodes": {}\n}\n'
    texts = [line.text for line in ledger.lines]
    texts[0] = f"{head}{NODES}    {texts[0]}"
    texts[-1] += END
    return ",\n    ".join(texts)


def _network_line(ledger: Ledger) -> str:
    return f'"network": {json.dumps(_plan.document_of(replace(ledger, leases=()))["network"])}'


def line_changes(old: Ledger | None, new: Ledger | None) -> list[LineChange]:
    """The lines in which the two differ. The generation goes with them and has none of its own."""
    if new is None or new == old:
        return []
    was = {**old.by_name} if old else {}
    found = [(before, line) for line in new.lines if (before := was.pop(line.name, None)) is not line and before != line]
    gone = {line.subnets: line for line in was.values()}
    pairs: list[tuple[Line | None, Line | None]] = [(before or gone.pop(line.subnets, None), line) for before, line in found]
    pairs += [(line, None) for line in gone.values()]
    changes = [_line_change(*pair, new.whys) for pair in sorted(pairs, key=_name_of)]
    if old is None or old.network != new.network:
        command = f"network {', '.join(new.network.cluster_cidrs)}"
        changes.insert(0, LineChange(command, _network_line(old) if old else "", _network_line(new)))
    return changes


def _name_of(pair: tuple[Line | None, Line | None]) -> str:
    line = pair[1] or pair[0]
    return line.name if line else ""


def _line_change(old: Line | None, new: Line | None, whys: Mapping[str, str]) -> LineChange:
    return LineChange(_command(old, new, whys), old.text if old else "", new.text if new else "")


def _command(old: Line | None, new: Line | None, whys: Mapping[str, str]) -> str:
    line = new or old
    if line is None:
        return ""
    what = f"{line.name} {','.join(line.subnets)}"
    if new is None:
        return f"release {what}"
    if old and old.name != new.name:
        return f"rename {old.name} {what}"
    if new.state == RETIRED:
        return f"retire {what}"
    if old and (old.state, old.subnets) == (ACTIVE, new.subnets):
        what += "".join(f" underlay {vtep.underlay} mac {vtep.mac}" for vtep in _plan.lease_on(new).vteps)
    return f"lease {what} ({whys.get(new.name, KEPT)})"


# --- what a task gets back ------------------------------------------------------------------------------------------------


def facts(ledger: Ledger | None, *, brief: bool = False) -> dict[str, Any]:
    """The ledger and what it makes one think of, and unless `brief` the leases with all that follows from them."""
    if ledger is None:
        return {"generation": 0, "network": {}, "capacity": {}, "leases": {}}
    network, warnings = _plan.document_of(replace(ledger, leases=()))["network"], list(_plan.warnings(ledger))
    common = {"generation": ledger.generation, "network": network, "capacity": _plan.capacity(ledger)}
    leases = {} if brief else {"leases": {lease.name: {**lease_facts(lease), "why": lease.why} for lease in ledger.leases}}
    return {**common, **leases, **({"warnings": warnings} if warnings else {})}


def lease_facts(lease: Lease) -> dict[str, Any]:
    """A lease with what follows from its subnets."""
    return {
        **_plan.node_of(lease),
        **{name: vtep.mac for name, vtep in zip(("mac", "mac6"), lease.vteps)},
        "gateways": [_plan.pod_gateway(subnet) for subnet in lease.subnets],
        "vtep_addresses": [_plan.vtep_address(subnet) for subnet in lease.subnets],
    }
