# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on a lab of ten nodes, against a ping of each and against a command for each entry. I/O: a lab, ansible-playbook."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger, peers_of
from kernel import DEVICE
from labs import INVENTORY, Lab, environment, play, take_away
from measure import Row, Side, answer, by_turns, python_of_a_node, python_with_pyroute2
from plans import planned, underlay, write

PLAYBOOKS = Path(__file__).with_name("playbooks")
NODES = 10
INTERPRETER: dict[str, Any] = {"ansible_python_interpreter": python_of_a_node()}
DIFFERENT: dict[str, tuple[dict[str, Any], float]] = {
    "ordinary": ({**INTERPRETER, "ansible_pipelining": False}, 1.25),
    "short road": (INTERPRETER, 0.4),
}


@dataclass(frozen=True)
class Stage:
    """A lab, and the ledger that its nodes are in."""

    lab: Lab
    nodes: int
    path: Path
    ledger: Ledger

    def variables(self, more: dict[str, Any]) -> dict[str, Any]:
        return {"podnet_lab_directory": self.lab.directory, "podnet_ledger": str(self.path), **more}

    def side(self, name: str, check: Callable[[dict[str, Any]], object], prepare: Callable[[], object], **more: Any) -> Side:
        """A playbook, to be measured; `check` gets what Ansible's json callback says of each host."""
        command = playbook(PLAYBOOKS / f"{name}.yml", INVENTORY, self.variables(more))
        return Side(lambda: answer(command, env=clean()), prepare, lambda said: check(json.loads(said)["stats"]))

    def each(self, script: Callable[[str], str]) -> None:
        """A script of `ip -batch` on each node; what is not there need not be deleted."""
        for name in self.names:
            self.lab.run(name, "ip", "-force", "-batch", "-", input=script(name), check=False)

    @property
    def names(self) -> list[str]:
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def remove_device(self) -> None:
        self.each(lambda _: f"link del {DEVICE}\n")

    def new_device(self) -> None:
        """The device as vxlan_device makes it."""
        leases = {lease.name: lease for lease in self.ledger.leases}
        self.each(lambda name: _device(leases[name].vtep_mac, leases[name].underlay, leases[name].subnets[0].split("/")[0]))

    def entries(self, name: str) -> tuple[int, int, int]:
        """How many permanent neighbours, fdb entries and routes the device of a node has."""
        shown = (f"ip neigh show dev {DEVICE} nud permanent", f"bridge fdb show dev {DEVICE}", "ip -4 route show")
        neighbours, fdb, routes = (self.lab.run(name, *command.split()).stdout.splitlines() for command in shown)
        return len(neighbours), sum(" dst " in line for line in fdb), sum(f" dev {DEVICE} " in f"{line} " for line in routes)

    def check(self, stats: dict[str, Any], changed: Sequence[int], entries: int) -> None:
        """Each node did as many changes as any of those numbers, and has so many peers."""
        assert set(stats) == set(self.names), stats
        assert all(each["changed"] in changed and not each["failures"] and not each["unreachable"] for each in stats.values()), stats
        assert {self.entries(name) for name in self.names} == {(entries,) * 3}, entries


def _device(mac: str, local: str, address: str) -> str:
    return (
        f"link del {DEVICE}\n"
        f"link add {DEVICE} address {mac} type vxlan id 1 local {local} dev eth0 dstport 8472 nolearning\n"
        f"link set {DEVICE} up\n"
        f"addr add {address}/32 dev {DEVICE}\n"
    )


@contextmanager
def stage(scratch: Path, nodes: int, others: int) -> Iterator[Stage]:
    """A lab whose nodes are in a ledger with some others beside them, which only the ledger knows."""
    directory = str(scratch / "lab")
    addresses = {f"node{number}": f"198.51.100.{number}" for number in range(1, nodes + 1)}
    addresses |= {f"other{number}": underlay(number) for number in range(1, others + 1)}
    ledger = planned(addresses)
    path = scratch / "lab-ledger.json"
    write(path, ledger)
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": nodes}).succeeded()
        yield Stage(Lab(directory), nodes, path, ledger)
    finally:
        take_away(directory)
        path.unlink(missing_ok=True)


def call(n: int, runs: int, scratch: Path, nodes: int = NODES) -> Iterator[Row]:
    """`module call`: peers that are there already, against a ping. Each row has a ping of its own, under its own conditions."""
    with stage(scratch, nodes, n + 1 - nodes) as here:
        here.new_device()
        here.side("peers", lambda stats: here.check(stats, [1], n), _nothing).cpu()
        for road, (variables, limit) in DIFFERENT.items():
            ours = here.side("peers", lambda stats: here.check(stats, [0], n), _nothing, **variables)
            ping = here.side("ping", lambda stats: here.check(stats, [0], n), _nothing, **variables)
            yield Row(f"module call, {road}", n, "s CPU", *by_turns(ours, ping, runs), limit)


def mesh(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`mesh`: everything that reaches the peers, from nothing, against one command for each entry on a device that is there."""
    with stage(scratch, n, 0) as here:

        def nothing() -> None:
            here.remove_device()
            here.path.unlink(missing_ok=True)

        peers = [asdict(peer) for peer in (*peers_of(here.ledger, "node1"), *peers_of(here.ledger, "node2"))]
        distinct = list({peer["node"]: peer for peer in peers}.values())
        same = {"ansible_python_interpreter": python_with_pyroute2()}
        cluster = {"podnet_cluster_cidr": here.ledger.network.cluster_cidrs[0], **same}
        ours = here.side("mesh", lambda stats: here.check(stats, range(1, 4), n - 1), nothing, **cluster)
        loops = here.side("mesh_by_commands", lambda stats: here.check(stats, [3], n - 1), here.new_device, **same, bench_peers=distinct)
        yield Row("mesh by site.yml's overlay part", n, "s CPU", *by_turns(ours, loops, runs, min(runs, 3)), 0.05)


def playbook(path: Path, inventory: Path, variables: dict[str, Any]) -> list[str]:
    """The command that runs it."""
    program = str(Path(sys.executable).parent / "ansible-playbook")
    return [program, f"--inventory={inventory}", "--extra-vars", json.dumps(variables), str(path)]


def clean(**more: str) -> dict[str, str]:
    """The environment of a user's ansible-playbook: without what the benchmarks themselves import by."""
    return {**{name: value for name, value in environment().items() if name != "PYTHONPATH"}, **more}


def _nothing() -> None:
    """Nothing is to be made ready."""
