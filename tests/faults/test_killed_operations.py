# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed after each of its changes of the kernel, and the next one, which makes what is left and says so. I/O: the kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
import test_traffic
from node import PEERS, Node, device, peers
from operations import changing, killed_after, shim, tables

BOTH: dict[str, Any] = {"local6": "2001:db8::1", "mac6": "02:f1:02:44:00:00", "addresses": ["172.20.0.0/32", "fd00:10:244::/128"]}
PEERS6 = [
    {"node": f"node{n + 1}", "subnets": [f"fd00:10:244:{n}::/64"], "underlay": f"2001:db8::{n + 1}", "mac": f"02:f1:02:44:00:0{n}"}
    for n in (1, 2)
]


@dataclass(frozen=True)
class Roles:
    """What the tasks of a role bring a node to, in one pass."""

    device: dict[str, Any] = field(default_factory=dict)
    peers: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> list[str]:
        return [*device(**self.device), *peers(**self.peers)]


def nothing() -> list[str]:
    return device(state="absent", name6="flannel-v6.1")


TWO_DEVICES = Roles(BOTH, {"wanted": [*PEERS, *PEERS6], "device6": "flannel-v6.1", "nexthops": "always"})
MOVED = [{**PEERS[0], "underlay": "198.51.100.9"}, {**PEERS[1], "mac": "02:f1:00:00:00:09"}]
# What was there before, and what is made of it.
LIVES: dict[str, tuple[Callable[[], list[str]], Callable[[], list[str]]]] = {
    "a new node": (nothing, Roles()),
    "two devices, and nexthops": (nothing, TWO_DEVICES),
    "nexthops for plain routes": (Roles(), Roles(peers={"nexthops": "always"})),
    "peers that moved": (Roles(), Roles(peers={"wanted": MOVED})),
    "peers that left": (TWO_DEVICES, Roles(BOTH, {"wanted": [], "device6": "flannel-v6.1"})),
    "another MAC and MTU": (Roles(), Roles({"mac": "02:f1:00:00:00:07", "mtu": 1400})),
    "another address": (Roles(), Roles({"addresses": ["172.20.7.0/32"]})),
    "a new device for another port": (Roles(), Roles({"port": 4789, "recreate": True})),
    "a device that goes": (TWO_DEVICES, nothing),
}


@pytest.mark.parametrize("life", LIVES)
def test_a_run_killed_after_any_change_is_finished_by_the_next_which_says_what_was_left(node: Node, life: str) -> None:
    before, run = LIVES[life]
    nothing()
    before()
    wanted, golden = run(), tables()
    assert wanted
    for count in range(1, len(wanted) + 2):
        nothing()
        before()
        was = tables()
        killed = killed_after(count, run)
        assert killed == (count <= len(wanted)), f"{count} of {len(wanted)} changes"
        assert (tables() != was) or not killed, "the change had reached the kernel"
        assert run() == wanted[count:], f"after change {count}, {wanted[min(count, len(wanted)) - 1]}"
        assert tables() == golden
        assert run() == []
    sys.stdout.write(f"{life}: killed after each of {len(wanted)} changes\n")


@pytest.mark.parametrize("life", LIVES)
def test_neither_a_look_nor_a_second_run_tells_the_kernel_anything(node: Node, life: str) -> None:
    before, run = LIVES[life]
    before()
    told: list[str] = []
    with shim(after=told.append):
        foreseen = [*device(check=True, **run.device), *peers(check=True, **run.peers)] if isinstance(run, Roles) else []
    assert foreseen or life == "a device that goes"
    assert not any(map(changing, told))
    run()
    told.clear()
    with shim(after=told.append):
        assert run() == []
    assert told or life == "a device that goes"
    assert not any(map(changing, told))


def test_no_packet_between_two_nodes_is_lost_while_runs_for_a_third_are_killed(overlay: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_traffic, "ROUNDS", 5)

    def killed_and_finished() -> None:
        for count in (1, 2, 3):
            assert len(peers(wanted=PEERS[:1])) == 3
            assert killed_after(count, peers)
            assert len(peers()) == 3 - count

    with closing(test_traffic.Far(overlay)) as far:
        lost, sent = test_traffic.lost_while(far, killed_and_finished)
    sys.stdout.write(f"{lost} of {sent} packets lost in 15 kills\n")
    assert lost == 0
