# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else changes the kernel between a run's look and its change, and two runs at once. I/O: the kernel, processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import vtep_target
from node import FDB, NEIGHBOURS, OPTIONS, ROUTES, UNREACHABLE, Node, device, peers, target
from operations import READS, shim, tables

LINK = "ip link add flannel.1 address 02:f1:ac:14:00:00 up type vxlan id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning"
NEXTHOP = "ip nexthop del id 2886992128"
PAIRS = 20
Result = dict[str, Any]


def run_device() -> Result:
    return answer(lambda: vtep_target("node1", OPTIONS), check=False, diff=False)


def run_peers(nexthops: str = "never") -> Result:
    return answer(lambda: target(nexthops=nexthops), check=False, diff=False)


class Meddler:
    """Does something before the `at`th change of a kind, once."""

    def __init__(self, operation: str, at: int, act: Callable[[], Any]) -> None:
        self._operation = operation
        self._left = at
        self._act = act
        self.acted = 0

    def __call__(self, operation: str) -> int:
        self._left -= operation == self._operation
        if self._left == 0 and not self.acted and operation not in READS:
            self.acted = 1
            self._act()
        return 0


def made_anew(node: Node) -> None:
    for command in ("ip link del flannel.1", LINK, "ip addr add 172.20.0.0/32 dev flannel.1"):
        node.run(command)


# What the run does, what comes in between, and before which change.
OVERCOME: list[tuple[str, Callable[[], Result], str, int, Callable[[Node], Any]]] = [
    ("the device goes, before its address comes", run_device, "addr", 1, lambda node: node.run("ip link del flannel.1")),
    ("somebody else makes the device", run_device, "link", 1, lambda node: node.run(LINK)),
    ("somebody else gives it its address", run_device, "addr", 1, lambda node: node.run("ip addr add 172.20.0.0/32 dev flannel.1")),
    ("the device is made anew, before a neighbour", run_peers, "send", 1, made_anew),
    ("the device is made anew, before a route", run_peers, "send", 5, made_anew),
]


@pytest.mark.parametrize(("run", "operation", "at", "act"), [case[1:] for case in OVERCOME], ids=[case[0] for case in OVERCOME])
def test_what_comes_in_between_is_looked_at_again_and_overcome(
    node: Node, run: Callable[[], Result], operation: str, at: int, act: Callable[[Node], Any]
) -> None:
    device()
    peers()
    golden = tables()
    device(state="absent")
    if run is run_peers:
        device()
    meddler = Meddler(operation, at, lambda: act(node))
    with shim(before=meddler):
        result = run()
    assert (meddler.acted, result.get("failed"), result["changed"]) == (1, None, True)
    assert run()["commands"] == []
    device()
    peers()
    assert tables() == golden


@pytest.mark.parametrize(
    ("act", "at", "sentence"),
    [
        ("ip link set flannel.1 down", 7, "ip route replace 172.20.1.0/24 nhid 2886992128 proto 86: "),
        (NEXTHOP, 7, "ip route replace 172.20.1.0/24 nhid 2886992128 proto 86: Nexthop id does not exist."),
        ("ip link set flannel.1 down", 5, "ip nexthop replace id 2886992128 via 172.20.1.0 dev flannel.1 onlink proto 86: "),
    ],
)
def test_what_cannot_be_overcome_is_named_with_what_was_done_and_made_by_the_next_run(node: Node, act: str, at: int, sentence: str) -> None:
    device()
    peers(nexthops="always")
    golden = tables()
    made_anew(node)
    device()
    with shim(before=Meddler("send", at, lambda: node.run(act))):
        result = run_peers("always")
    assert result["failed"]
    assert result["msg"].startswith(f"node1: {sentence}")
    assert result["commands"][:4] == [*NEIGHBOURS, *FDB]
    device()
    peers(nexthops="always")
    assert tables() == golden


# --- two runs at once -----------------------------------------------------------------------------------------------------

MEETING: list[Any] = []


def meet_at(barrier: Any) -> None:
    MEETING.append(barrier)


def run_both() -> list[Result]:
    MEETING[0].wait(timeout=60)
    return [run_device(), run_peers()]


def test_two_runs_at_once_end_well_and_make_each_thing_once(node: Node) -> None:
    wanted = sorted(command for result in (run_device(), run_peers()) for command in result["commands"])
    golden = tables()
    fork, made = get_context("fork"), []
    meeting = fork.Barrier(2)
    with ExitStack() as both:
        processes = [
            both.enter_context(ProcessPoolExecutor(1, mp_context=fork, initializer=meet_at, initargs=(meeting,))) for _time in range(2)
        ]
        for _time in range(PAIRS):
            device(state="absent")
            runs = [running.result(timeout=60) for running in [process.submit(run_both) for process in processes]]
            assert not any(result.get("failed") for run in runs for result in run)
            made = [[command for result in run for command in result["commands"]] for run in runs]
            assert sorted(made[0] + made[1]) == wanted
            assert (run_device()["commands"], run_peers()["commands"], tables()) == ([], [], golden)


# --- what is below, and beside ----------------------------------------------------------------------------------------------


def test_an_underlay_that_takes_less_is_followed(overlay: Node) -> None:
    overlay.run("ip link set eth0 mtu 1400")
    assert device() == ["ip link set dev flannel.1 mtu 1350"]
    assert (device(), peers()) == ([], [])


def test_an_underlay_that_was_made_anew_has_its_overlay_after_one_run(overlay: Node) -> None:
    before = tables()
    for command in (
        "ip link del eth0",
        "ip link add eth0 type veth peer name switch0",
        "ip addr add 198.51.100.1/24 dev eth0",
        "ip addr add 198.51.100.11/24 dev eth0",
        "ip addr add 2001:db8::1/64 dev eth0 nodad",
        "ip link set eth0 up",
        "ip link set switch0 up",
    ):
        overlay.run(command)
    assert not [line for line in tables() if "flannel.1" in line]
    assert device()[0].startswith("ip link add name flannel.1")
    assert peers() == [*NEIGHBOURS, *FDB, *ROUTES]
    assert [line for line in tables() if "flannel.1" in line] == [line for line in before if "flannel.1" in line]


def test_a_port_that_another_stack_has_with_other_options_is_named_and_no_device_is_left(node: Node) -> None:
    node.run("ip link add other up type vxlan id 7 local 198.51.100.11 dev eth0 dstport 8472 gbp nolearning")
    before = tables()
    result = run_device()
    assert (result["failed"], result["commands"]) == (True, [UNREACHABLE])
    assert [line for line in tables() if "172.20.0.0/16" not in line] == before
    assert "ip link add name flannel.1 " in result["msg"]
    assert "Address already in use" in result["msg"]
