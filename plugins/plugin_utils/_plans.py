# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks need of the ledger, made once a run and found by every host at once. I/O: the ledger, and files that end with the run."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from ansible import constants
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import directory_lock, lease_facts, read, text
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_valid
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE, Ledger, all_peers


class Planned(NamedTuple):
    """The lease of a node, as pod_subnet returns it, with the cluster's ranges, and the plan, which is the same for all nodes."""

    lease: dict[str, Any]
    plan: str

    @property
    def own(self) -> list[str]:
        """The MACs of the node's devices."""
        return [self.lease[mac] for mac in ("mac", "mac6") if mac in self.lease]


def planned(path: str, node: str) -> Planned:
    """Find a node in the plan of the ledger at `path`, or `located` in etcd. Raises Refused where it or an active lease in it is missing.

    Each host's task runs in a process of its own. The first one reads and checks the whole ledger and leaves behind a line for each
    node; the others look for the line of theirs, so that what a host costs does not grow with the number of hosts.
    """
    copy = copy_of_the_run(path)
    file = _prepared(copy if os.path.exists(copy) else path, node)
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        start = lines.find(f"\n{node} ".encode())
        if start < 0:
            raise refuse(node, "its lease", "missing", f"the ledger {path} has no active node of this name")
        line = lines[start + 1 : lines.find(b"\n", start + 1)]
        plan = lines[: lines.find(b"\n")]
    return Planned(json.loads(line[len(node.encode()) + 1 :]), plan.decode())


def _prepared(path: str, node: str) -> str:
    if "://" in path:
        raise Refused(f"{node}: the ledger {path} has not been read in this run: let podnet.baremetal.pod_subnet do so first.")
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        read(path)  # a directory that is missing has a sentence of its own
        raise _missing(path, node) from error
    except OSError as error:
        raise Refused(f"{path}: the ledger cannot be read: {error.strerror}.") from error
    version = f"{os.path.abspath(path)} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return once("plan", version, lambda: _text(path, node))


def once(kind: str, identity: str, text: Callable[[], str]) -> str:
    """The path of a file with a text that the first process of the run makes and all others find."""
    file = _run_file(kind, identity)
    if not os.path.exists(file):
        with directory_lock(file):
            if not os.path.exists(file):
                write_atomically(file, text(), 0o600)
    return file


def _text(path: str, node: str) -> str:
    ledger = read(path)
    if not ledger:
        raise _missing(path, node)
    return "".join(_lines(ledger))


def _missing(path: str, node: str) -> Refused:
    return Refused(f"{node}: the ledger {path} is not there: let podnet.baremetal.pod_subnet make it first.")


def _lines(ledger: Ledger) -> Iterator[str]:
    """The plan, then each active node with its lease and what all share."""
    yield pack_valid([vars(peer) for peer in all_peers(ledger)]) + "\n"
    shared = {"cluster_cidr": ledger.network.cluster_cidrs, "reserved": ledger.network.reserved, "generation": ledger.generation}
    for lease in ledger.leases:
        if lease.state == ACTIVE:
            yield f"{lease.name} {json.dumps({**lease_facts(lease), **shared})}\n"


def copy_of_the_run(path: str) -> str:
    """Where a run keeps the ledger of etcd, and under --check what the ledger at `path` would be."""
    return _run_file("ledger", path if "://" in path else os.path.abspath(path))


def leave_copy(path: str, planned: Ledger | None) -> str:
    """Where later tasks of this run read the ledger at `path`: there or, where `planned` is given, in a copy of that."""
    copy = copy_of_the_run(path)
    if planned:
        write_atomically(copy, text(planned), 0o600)
        return copy
    with suppress(FileNotFoundError):
        os.unlink(copy)
    return path


def _run_file(kind: str, identity: str) -> str:
    """The path of a file in the directory that ansible makes for a run and removes at its end."""
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return os.path.join(vars(constants)["DEFAULT_LOCAL_TMP"], f"podnet-{kind}-{name}")
