# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process costs, ours and the reference by turns, and what comes of many such runs. I/O: processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import pyroute2

T = TypeVar("T")
SYSTEM = Path("/usr/bin/python3")  # optimised, as a node's is; the virtual environment's may have been built otherwise


def python_of_a_node() -> str:
    """The distribution's Python, if the program can run on it."""
    new_enough = [str(SYSTEM), "-c", "import sys; sys.exit(sys.version_info < (3, 9))"]
    return str(SYSTEM) if SYSTEM.exists() and not subprocess.run(new_enough, check=False).returncode else sys.executable


def python_with_pyroute2() -> str:
    """The same with pyroute2 alone, where lab nodes see it: their own has Ansible, compiled, beside it, which no other node has."""
    place = Path(sys.prefix).with_name("bench-node")
    subprocess.run([python_of_a_node(), "-m", "venv", "--clear", "--without-pip", str(place)], check=True)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "pyroute2").symlink_to(Path(pyroute2.__file__).parent)
    return str(place / "bin" / "python")


PYTHON = [python_of_a_node(), "-I", "-S"]
# The kernel counts the pages of who forks as those of who is born until it executes (exec_mmap), so a small process has to bear it.
BEARER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
sys.stderr.write(f" {usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: what each run measured, and the limit of the ratio, or without a reference of ours."""

    name: str
    n: int
    unit: str
    ours: Sequence[float]
    reference: Sequence[float] = ()
    limit: float | None = None

    @property
    def label(self) -> str:
        return f"{self.name} {self.n}"

    @property
    def ratio(self) -> float | None:
        return median(self.ours) / median(self.reference) if self.reference else None

    @property
    def reached(self) -> bool | None:
        judged = median(self.ours) if self.ratio is None else self.ratio
        return None if self.limit is None else judged <= self.limit

    def record(self) -> dict[str, Any]:
        """As it is written to the file. Spreads are the smallest and the largest of the runs."""
        return {
            "name": self.name,
            "n": self.n,
            "ours": median(self.ours),
            "reference": median(self.reference) if self.reference else None,
            "ratio": self.ratio,
            "unit": self.unit,
            "runs": len(self.ours),
            "reference_runs": len(self.reference),
            "ours_spread": [min(self.ours), max(self.ours)],
            "reference_spread": [min(self.reference), max(self.reference)] if self.reference else None,
            "limit": self.limit,
            "reached": self.reached,
        }


@dataclass(frozen=True)
class Side:
    """What is measured, what must be so before it and is not measured, and what must come of it."""

    work: Callable[[], Any]
    prepare: Callable[[], object] = lambda: None
    check: Callable[[Any], object] = lambda _: None
    times: int = 1  # in a run: what is short would drown in the ticks by which the kernel accounts CPU time

    def cpu(self) -> float:
        """CPU seconds of the work, the mean of one run's."""
        return sum(self._once() for _ in range(self.times)) / self.times

    def _once(self) -> float:
        self.prepare()
        seconds, answer = cpu(self.work)
        self.check(answer)
        return seconds


def cpu(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds, user and system, of all the processes that the work starts and waits for; and what it answers."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, answer


def by_turns(ours: Side, reference: Side, runs: int, reference_runs: int | None = None) -> tuple[list[float], list[float]]:
    """CPU seconds of each run of ours and of the reference, which may run less often."""
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(runs):
        measured[0].append(ours.cpu())
        if number < (runs if reference_runs is None else reference_runs):
            measured[1].append(reference.cpu())
    return measured


def answer(command: Sequence[str], program: bytes = b"", env: dict[str, str] | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(command, input=program, capture_output=True, check=False, env=env)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()


def peak_memory(command: Sequence[str], program: bytes) -> float:
    """The largest resident set of one run of a command that reads the program, in MB."""
    return borne(command, program)[1]


def borne(command: Sequence[str], program: bytes = b"", env: Mapping[str, str] | None = None) -> tuple[str, float]:
    """What a command prints, and the largest resident set among its processes, in MB."""
    with tempfile.TemporaryFile() as file:
        file.write(program)
        file.seek(0)
        done = subprocess.run([*PYTHON, "-c", BEARER, *command], stdin=file, capture_output=True, check=False, env=env or {**os.environ})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode(), int(done.stderr.split()[-1]) * 1024 / 1e6
