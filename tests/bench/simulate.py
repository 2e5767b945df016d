# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller spends on a host of a large inventory whose nodes answer at once. I/O: ansible-playbook, no node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from labs import CHECKOUT
from measure import Row, borne, cpu
from plans import CLUSTER, SERVICE, underlay
from plays import PLAYBOOKS, clean, playbook

FEW = 50
PLAYS = {
    "site": CHECKOUT / "playbooks" / "site.yml",
    "peers": CHECKOUT / "playbooks" / "peers.yml",
    "nothing": PLAYBOOKS / "nothing.yml",  # as many tasks as site.yml, to tell Ansible's own share of what grows
}
PART = "controller, a host of few in many"
EMPTY = "controller, an empty play"
ROWS = ("controller, a host", "controller, a host with its start", "tasks a node", "calls a node", "bytes a node")
WHOLE = ("whole run", "whole run, memory", "whole run, bytes a node")
FORKS = ("forks, by the clock", "forks, CPU")
DELAY = "1"  # seconds that a host takes for each call, as one does that is slow or far away
PLUGINS = Path(__file__).with_name("plugins")


@dataclass(frozen=True)
class Cluster:
    """An inventory of so many hosts, with its ledger."""

    directory: Path
    n: int

    def make(self) -> None:
        self.directory.mkdir()
        hosts = {f"node{number}": {"ansible_host": underlay(number)} for number in range(1, self.n + 1)}
        variables = {
            "ansible_connection": "answering",
            "ansible_python_interpreter": "/usr/bin/python3",
            "podnet_cluster_cidr": CLUSTER,
            "podnet_service_cidr": SERVICE,
        }
        groups = {"kube_node": {"hosts": hosts, "vars": variables}, "kube_control_plane": {"hosts": {"node1": None}}}
        (self.directory / "hosts.yml").write_text(json.dumps(groups))
        self.run(PLAYBOOKS / "ledger.yml")

    def run(self, path: Path, hosts: int | None = None, **settings: str) -> Run:
        """Run a playbook on the first so many hosts, or on all; nothing but the ledger may change. `settings`: of its environment."""
        calls, tasks = self.directory / "calls", self.directory / "tasks"
        calls.write_text("")
        environment = clean(
            ANSIBLE_STDOUT_CALLBACK="default",
            ANSIBLE_CALLBACKS_ENABLED="counted",
            ANSIBLE_CALLBACK_PLUGINS=str(PLUGINS / "callback"),
            ANSIBLE_CONNECTION_PLUGINS=str(PLUGINS / "connection"),
            BENCH_CALLS=str(calls),
            BENCH_TASKS=str(tasks),
            **settings,
        )
        limit = [f"--limit={','.join(f'node{number}' for number in range(1, hosts + 1))}"] if hosts else []
        command = [*playbook(path, self.directory / "hosts.yml", {}), *limit]
        start = time.perf_counter()
        seconds, (_, peak) = cpu(lambda: borne(command, env=environment))
        wall = time.perf_counter() - start
        sizes = [int(line) for line in calls.read_text().split()]
        return Run(hosts or self.n, seconds, wall, peak, len(sizes), sum(sizes), json.loads(tasks.read_text()))


@dataclass(frozen=True)
class Run:
    """One run: CPU seconds, seconds by the clock, MB of its largest process, calls of the connection and the bytes sent by them, and what
    was done on each host."""

    n: int
    seconds: float
    wall: float
    peak: float
    calls: int
    size: int
    hosts: dict[str, dict[str, Any]]

    def no_op(self) -> Run:
        """Itself; nothing has failed and nothing was changed."""
        assert len(self.hosts) == self.n, len(self.hosts)
        unhappy = {host: each for host, each in self.hosts.items() if each["changed"] or each["failures"] or each["unreachable"]}
        assert not unhappy, unhappy
        return self

    @property
    def tasks(self) -> float:
        return float(median(host["tasks"] for host in self.hosts.values()))


def names(play: str) -> tuple[str, ...]:
    """The names of the rows of a playbook, of many hosts against few."""
    return (f"{EMPTY}, {play}", *(f"{what}, {play}" for what in ROWS))


def names_of_whole(play: str) -> tuple[str, ...]:
    return tuple(f"{what}, {play}" for what in WHOLE)


def controller(play: str, n: int, runs: int, scratch: Path, few: int = FEW) -> Iterator[Row]:
    """`controller, a host`: the second run on many hosts, against few. What the start of a run costs is taken off in the stricter row."""
    clusters = [Cluster(scratch / f"{play}-{size}-for-{n}", size) for size in (n, few)]
    alone = Cluster(scratch / f"{play}-1-for-{n}", 1)
    for cluster in (*clusters, alone):
        cluster.make()
    start = median(alone.run(PLAYBOOKS / "empty.yml").seconds for _ in range(runs))
    yield Row(f"{EMPTY}, {play}", 1, "s CPU", [start])
    sides: tuple[list[Run], list[Run]] = ([], [])
    for _ in range(runs):
        for cluster, side in zip(clusters, sides):
            side.append(cluster.run(PLAYS[play]).no_op())
    yield from _rows(play, *sides, start)


def part(n: int, runs: int, scratch: Path, few: int = FEW) -> Iterator[Row]:
    """`controller, a host of few in many`: site.yml on the same few hosts of a large inventory and of one that has no others.

    What it costs on one of them alone is taken off, and with it what is done once a run.
    """
    clusters = [Cluster(scratch / f"part-{size}-of-{n}", size) for size in (n, few)]
    for cluster in clusters:
        cluster.make()
    sides: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for cluster, side in zip(clusters, sides):
            one, some = (cluster.run(PLAYS["site"], hosts).no_op().seconds for hosts in (1, few))
            side.append((some - one) / (few - 1) * 1000)
    yield Row(PART, n, "ms CPU", *sides, 1.2)


def whole(play: str, n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`whole run`: a playbook with nothing to do on all hosts of a cluster, its start included."""
    cluster = Cluster(scratch / f"{play}-whole-{n}", n)
    cluster.make()
    done = [cluster.run(PLAYS[play]).no_op() for _ in range(runs)]
    yield Row(f"whole run, {play}", n, "s CPU", [run.seconds for run in done])
    yield Row(f"whole run, memory, {play}", n, "MB", [run.peak for run in done])
    yield Row(f"whole run, bytes a node, {play}", n, "kB", [run.size / n / 1000 for run in done])


def forks(n: int, runs: int, scratch: Path, hosts: int = FEW) -> Iterator[Row]:
    """`forks`: site.yml with nothing to do by n forks, on hosts that take their time to answer."""
    cluster = Cluster(scratch / f"forks-{n}", hosts)
    cluster.make()
    done = [cluster.run(PLAYS["site"], ANSIBLE_FORKS=str(n), BENCH_DELAY=DELAY).no_op() for _ in range(runs)]
    yield Row(FORKS[0], n, "s", [run.wall for run in done])
    yield Row(FORKS[1], n, "s CPU", [run.seconds for run in done])


def _rows(name: str, many: list[Run], few: list[Run], start: float) -> Iterator[Row]:
    n = many[0].n
    raw = [[run.seconds / run.n * 1000 for run in side] for side in (many, few)]
    net = [[(run.seconds - start) / run.n * 1000 for run in side] for side in (many, few)]
    measured: tuple[tuple[Any, ...], ...] = (
        ("ms CPU", *net, *([] if name == "nothing" else [1.2])),
        ("ms CPU", *raw),
        ("tasks", [many[-1].tasks], [few[-1].tasks]),
        ("calls", [many[-1].calls / n], [few[-1].calls / few[-1].n]),
        ("kB", [many[-1].size / n / 1000], [few[-1].size / few[-1].n / 1000]),
    )
    yield from (Row(f"{what}, {name}", n, *each) for what, each in zip(ROWS, measured))
