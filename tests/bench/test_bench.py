# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks measure what they say they measure, on few peers; never how long it takes. I/O: a kernel, ansible-playbook."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
from pathlib import Path

import plans
import pytest
import simulate
import sizes
from bench import BENCHES
from counting import changing
from enclosed import SCRATCH, enclosed
from kernel import Batches, entries, new_device, node, peers
from labs import CHECKOUT
from measure import Row, Side, by_turns, cpu
from programs import again, from_nothing, one_more
from repair import repair

MESSAGE = struct.Struct("=IHHII")
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30


def test_the_program_is_measured_where_it_makes_keeps_and_adds_peers(tmp_path: Path) -> None:
    rows = {row.name: row for measure in (from_nothing, again, one_more) for row in measure(5, 1, tmp_path)}
    assert list(rows) == ["program", "no-op", "no-op memory", "one peer more", "one peer more, messages"]
    assert rows["one peer more, messages"].ours == [3]  # a neighbour, an fdb entry, a route
    assert rows["no-op memory"].ours[0] > 1


def test_the_repair_is_measured_where_it_does_nothing_and_where_it_does_all(tmp_path: Path) -> None:
    assert [row.name for row in repair(5, 1, tmp_path)] == ["repair, from nothing", "repair"]


def test_the_reference_makes_the_same_entries(tmp_path: Path) -> None:
    batches = Batches(tmp_path, peers(5))
    with node():
        new_device()
        batches.load()
        assert entries() == (5, 5, 5)


def test_a_question_to_the_kernel_is_no_change() -> None:
    packet = b"".join(MESSAGE.pack(20, kind, 1, 1, 0) + bytes(4) for kind in (RTM_NEWNEIGH, RTM_GETNEIGH, RTM_DELNEIGH))
    assert changing(packet) == 2


def test_the_ledger_is_planned_and_read_back(tmp_path: Path) -> None:
    rows = {row.name: row for row in plans.from_nothing(5, 1, tmp_path)}
    assert tuple(rows) == plans.NAMES
    assert rows["ledger, bytes"].ours == [(tmp_path / "ledger-5-0.json").stat().st_size / 1000]


def test_what_the_tables_hold_and_take_is_measured_by_peers(tmp_path: Path) -> None:
    rows = {row.name: row for row in sizes.tables(1001, 1, tmp_path)}
    assert tuple(rows) == sizes.NAMES
    assert rows["tables, entries"].ours == [3003]  # a neighbour, an fdb entry, a route each
    assert rows["tables, nexthops"].ours == [1001]  # and with more than 1,000 routes a nexthop, too
    assert rows["tables, file for boot"].ours[0] > 1001 * 0.1


def test_the_last_lease_is_measured_beside_all_of_them(tmp_path: Path) -> None:
    rows = list(plans.as_many_as_fit(5, 1, tmp_path))
    assert [row.name for row in rows] == ["leases from nothing", "one lease more", "leases, memory"]
    assert rows[2].ours[0] > 1


def test_a_simulated_cluster_answers_every_task_and_counts_what_it_was_sent(tmp_path: Path) -> None:
    cluster = simulate.Cluster(tmp_path / "inventory", 3)
    cluster.make()
    cluster.run(CHECKOUT / "playbooks" / "site.yml", 2).no_op()
    run = cluster.run(CHECKOUT / "playbooks" / "peers.yml", 2, BENCH_DELAY="0.01").no_op()
    assert run.calls == 2
    assert run.size > 1000
    assert run.tasks >= 1
    assert run.peak > 1


def test_both_sides_are_measured_by_turns() -> None:
    turns: list[str] = []
    ours, reference = Side(lambda: turns.append("ours")), Side(lambda: turns.append("reference"))
    measured = by_turns(ours, reference, 3, 2)
    assert turns == ["ours", "reference", "ours", "reference", "ours"]
    assert [len(side) for side in measured] == [3, 2]


def test_the_cpu_time_is_that_of_the_children() -> None:
    seconds, _ = cpu(lambda: subprocess.run([sys.executable, "-S", "-c", "sum(range(3_000_000))"], check=True))
    assert seconds > 0


@pytest.mark.parametrize(("ours", "reached"), [([1.0, 2.0, 9.0], True), ([3.0, 4.0, 5.0], False)])
def test_a_row_is_judged_by_the_ratio_of_the_medians(ours: list[float], reached: bool) -> None:
    record = Row("row", 5, "s", ours, [2.0, 2.0, 2.0], limit=1.5).record()
    assert {*record} >= {"name", "n", "ours", "reference", "ratio", "unit", "runs"}
    assert record["ours_spread"] == [min(ours), max(ours)]
    assert record["reached"] is reached


def test_a_row_without_a_reference_is_judged_by_itself() -> None:
    record = Row("row", 5, "MB", [30.0], limit=40).record()
    assert (record["ratio"], record["reached"]) == (None, True)


def test_the_longest_rows_are_measured_only_when_asked_for_by_their_n() -> None:
    longest = next(bench for bench in BENCHES if not bench.unasked)
    assert [longest.chosen(pattern) for pattern in ("", "controller", "controller.* 5000")] == [False, False, True]


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_enclosed_ends_with_it(killed: bool) -> None:
    listening, held = os.pipe()

    def work(scratch: Path) -> int:
        (scratch / "file").touch()
        subprocess.Popen(["sleep", "60"], pass_fds=[held])
        os.write(held, b".")
        if killed:
            signal.pause()
        return 0

    first = os.fork()  # pytest itself stays in its PID namespace
    if first == 0:
        os._exit(enclosed(work))
    os.close(held)
    assert os.read(listening, 1) == b"."
    if killed:
        os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert select.select([listening], [], [], 10)[0]
    assert os.read(listening, 1) == b""  # nobody holds the other end any more
    os.close(listening)
    left = Path("/run", f"{SCRATCH}-{first}")
    if killed:
        left.rmdir()  # empty, and swept by the next run
    assert not left.exists()
