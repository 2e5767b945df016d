# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger in etcd: read at one revision, changed by compare-and-swap, with flannel's keys in the same transactions. Does I/O."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Outcome, Target, converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LineChange, facts, parse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._commits import LEDGER, Commit, Flannel, commits
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd import Access, Etcd
from ansible_collections.podnet.baremetal.plugins.plugin_utils._occupied import capacity_beside, check_occupied, occupied
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import EtcdPlace
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import Snapshot

ATTEMPTS = 500  # each that is lost is one that somebody else has won
PAUSE = 2.0  # seconds at most between two of them

T = TypeVar("T", bound=Target[Any])


class Overtaken(Exception):
    """Somebody else was faster. `changes` are those that had been made before."""

    def __init__(self, changes: Sequence[LineChange]) -> None:
        super().__init__()
        self.changes = tuple(changes)


class EtcdLedger:
    """The keys at a place say what `change` makes of the ledger there; None is a ledger that is not there."""

    def __init__(self, etcd: Etcd, change: Callable[..., Ledger | None], flannel: Flannel, *, brief: bool = False) -> None:
        self.name = str(etcd.place)
        self._etcd = etcd
        self._change = change
        self._flannel = flannel
        self._brief = brief
        self._looked = Snapshot(0, {})
        self._commits: list[Commit] = []
        self._committed = 0
        self._occupied: Mapping[str, str] = {}
        # What the first look led to: after writing it, a second look would call every lease `kept`.
        self.planned: Ledger | None = None

    def lock(self) -> AbstractContextManager[None]:
        """Nothing to hold: whoever commits first is right, and the others look again."""
        return nullcontext()

    def drift(self) -> list[LineChange]:
        """By the keys of now or, after a commit, of its revision: what others have done since is theirs."""
        self._looked = self._etcd.snapshot(self._committed)
        keys = self._looked.keys
        current = parse(keys[LEDGER].value.encode(), f"{self.name}/{LEDGER}") if LEDGER in keys else None
        self._occupied = occupied(keys, current)
        wanted = self._change(current, occupied=self._occupied)
        check_occupied(wanted, self._occupied)
        self._commits = commits(keys, current, wanted, self._flannel) if wanted else []
        if self.planned is None and wanted:
            self.planned = replace(wanted, generation=self._commits[-1].ledger.generation) if self._commits else wanted
        return [change for commit in self._commits for change in commit.changes]

    def apply(self, changes: Sequence[LineChange]) -> None:
        done: list[LineChange] = []
        since = self._looked
        for commit in self._commits if changes else ():
            try:
                revision = self._etcd.commit(since, LEDGER, commit.operations)
            except (Failed, Refused) as error:
                raise Failed(str(error), [change.command for change in done]) from error
            if revision is None:
                raise Overtaken(done)
            self._committed = revision
            done += commit.changes
            since = since.after(revision, commit.operations)

    def facts(self) -> dict[str, Any]:
        found = {"ledger": self.name, **facts(self.planned, brief=self._brief)}
        if self.planned and "capacity" in found:
            found["capacity"] = capacity_beside(self.planned, self._occupied)
        return found


def target(place: EtcdPlace, parameters: Mapping[str, Any], change: Callable[..., Ledger | None]) -> EtcdLedger:
    """The ledger at a place that the options of a task give access to, and what `change` makes of it."""
    access = Access(*(parameters[f"etcd_{option}"] for option in ("user", "password", "ca", "certificate", "key")))
    flannel = Flannel(place.prefix, parameters["vni"], parameters["port"])
    return EtcdLedger(Etcd(place, access), change, flannel, brief=bool(parameters["brief"]))


def settled(target: Callable[[], T], *, check: bool) -> tuple[T, Outcome]:
    """Bring a ledger to what is wanted, from the start each time that somebody else is faster; and all that was done."""
    done: list[LineChange] = []
    for attempt in range(ATTEMPTS):
        ledger = target()
        try:
            outcome = converge(ledger, check=check)
        except Overtaken as overtaken:
            done += overtaken.changes
            time.sleep(random.uniform(0, min(PAUSE, 0.02 * 2 ** min(attempt, 9))))
        except Refused as refused:
            if not done:
                raise
            raise Failed(str(refused), [change.command for change in done]) from refused
        else:
            return ledger, outcome._replace(changes=[*done, *outcome.changes])
    raise Failed(f"{target().name}: others were faster {ATTEMPTS} times: run it again.", [change.command for change in done])
