# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each error at each operation of a run: it goes on, or names the entry and what was done, and the next run makes the rest. I/O: kernel."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import RETRIES, answer
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import PASSING
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import vtep_target
from node import OPTIONS, Node, device, target
from operations import changing, shim, tables

ERRNOS = (
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.EAGAIN,
    errno.EBUSY,
    errno.EEXIST,
    errno.EINTR,
    errno.EINVAL,
    errno.ENETDOWN,
    errno.ENOBUFS,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOMEM,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.ESRCH,
)
Result = dict[str, Any]


class Refusal:
    """Refuses the operation number `at` with an error, so many times in a row, and counts what it did."""

    def __init__(self, at: int, number: int, times: int = 1) -> None:
        self._at = at
        self._number = number
        self._times = times
        self.passed: list[str] = []
        self.refused = 0

    def __call__(self, operation: str) -> int:
        self.passed.append(operation)
        if len(self.passed) <= self._at or self.refused == self._times:
            return 0
        self.refused += 1
        return self._number


def run() -> list[Result]:
    """What a role does on a node that has nothing: the device, then the peers, unless that has failed."""
    results: list[Result] = []
    makers: list[Callable[[], Any]] = [lambda: vtep_target("node1", OPTIONS), lambda: target(nexthops="always")]
    for make in makers:
        if not any(result.get("failed") for result in results):
            results.append(answer(make, check=False, diff=False))
    return results


def commands(results: list[Result]) -> list[str]:
    return [command for result in results for command in result["commands"]]


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_an_error_at_any_operation_is_overcome_or_named_and_nothing_is_left_for_a_third_run(node: Node, number: int) -> None:
    refusal = Refusal(1 << 30, 0)
    with shim(before=refusal):
        wanted = commands(run())
    operations, golden, ends = refusal.passed, tables(), Counter[str]()
    for at, operation in enumerate(operations):
        device(state="absent")
        refusal = Refusal(at, number)
        with shim(before=refusal):
            results = run()
        assert refusal.refused == 1, f"nobody met the error at operation {at}, {operation}"
        ends[f"{'changes' if changing(operation) else 'looks'} {judged(results, operation, number, wanted)}"] += 1
        made, left = commands(results), commands(run())
        # EOPNOTSUPP is how a kernel says that it knows no nexthops, and gets plain routes then.
        assert sorted(made + left) == sorted(wanted) or (operation, number) == ("get", errno.EOPNOTSUPP)
        assert tables() == golden, f"after {operation}"
    sys.stdout.write(f"{errno.errorcode[number]}: {len(operations)} operations, {dict(ends)}\n")
    assert ends["changes overcome" if number in PASSING else "changes named"] == sum(map(changing, operations))


def judged(results: list[Result], operation: str, number: int, wanted: list[str]) -> str:
    """Whether the run went on, or said at which entry it ended and what was done until then."""
    if not results[-1].get("failed"):
        return "overcome"
    said = results[-1]["msg"]
    assert os.strerror(number) in said
    assert said.count("\n") == 0
    assert "cannot be looked at" in said if not changing(operation) else any(command in said for command in wanted)
    return "named"


@pytest.mark.parametrize("number", sorted(PASSING.intersection(ERRNOS)), ids=errno.errorcode.get)
@pytest.mark.parametrize("operation", ["link", "sysctl", "addr", "send"])
def test_an_error_that_does_not_pass_is_met_so_often_and_no_more(node: Node, operation: str, number: int) -> None:
    met: list[str] = []

    def refuse(current: str) -> int:
        met.append(current)
        return number if current == operation else 0

    with shim(before=refuse):
        failed = run()[-1]
    assert (failed["failed"], met.count(operation)) == (True, 1 + RETRIES)
    assert os.strerror(number) in failed["msg"]
