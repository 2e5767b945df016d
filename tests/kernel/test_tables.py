# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How little is asked and told of the kernel, and what its answers look like, on which the speed hangs. A network namespace a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import Message
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import RouteSocket, interface, passing_neighbours
from node import PEERS, Node, device, peers, target

SIX = [{**peer, "subnets": [*peer["subnets"], f"2001:db8:{n}::/64"]} for n, peer in enumerate(PEERS, start=1)]
NEW = {"node": "node4", "subnets": ["172.20.3.0/24"], "underlay": "198.51.100.4", "mac": "02:f1:ac:14:03:00"}

# Entries that come and go beside the stable ones; not permanent, so nobody's to delete.
CHURN = """
import subprocess
lines = "".join(
    f"fdb {verb} 02:00:00:00:{n >> 8:02x}:{n & 255:02x} dev flannel.1 dst 192.0.2.{n & 255 | 1} self{state}\\n"
    for verb, state in (("replace", " dynamic"), ("del", ""))
    for n in range(2000)
)
print("started", flush=True)
while True:
    subprocess.run(["bridge", "-force", "-batch", "-"], input=lines, text=True, capture_output=True)
"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """Every message by which the kernel is told to change something. They reach it all the same."""
    messages: list[Message] = []
    send = RouteSocket.send

    def noted(route_socket: RouteSocket, block: Sequence[Message]) -> list[tuple[int, OSError]]:
        messages.extend(block)
        return send(route_socket, block)

    monkeypatch.setattr(RouteSocket, "send", noted)
    return messages


@contextmanager
def churn() -> Iterator[None]:
    """Somebody else changes the fdb all the time."""
    with subprocess.Popen([sys.executable, "-c", CHURN], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            os.killpg(process.pid, 9)


def test_neighbours_of_peers_take_none_of_the_room_that_gc_thresh3_gives_to_others(node: Node) -> None:
    device()
    addresses = [f"172.{20 + (n >> 8)}.{n & 255}.0" for n in range(1, 1501)]  # gc_thresh3 is 1,024 where nobody has raised it
    node.run("ip -batch -", "".join(f"neigh add {each} lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent\n" for each in addresses))
    node.run("ip neigh add 198.51.100.7 lladdr 02:00:00:00:00:07 dev eth0 nud reachable")
    assert len(node.run("ip neigh show dev flannel.1 nud permanent").splitlines()) == 1500
    assert passing_neighbours(RouteSocket(), socket.AF_INET) == 1


@pytest.mark.parametrize("nexthops", ["always", "never"])
@pytest.mark.parametrize("wanted", [PEERS, SIX], ids=["IPv4", "both families"])
def test_what_is_right_is_known_without_parsing_it(node: Node, wanted: list[dict[str, Any]], nexthops: str) -> None:
    device(addresses=["172.20.0.0/32", "2001:db8:ffff::/128"])
    peers(wanted=wanted, nexthops=nexthops)
    again = target(wanted, nexthops=nexthops)
    for table in again._wanted((interface("flannel.1"),)):
        assert table.table
        seen, others = again._tables.socket.compare(table.table, table.heads, table.sizes)
        assert seen == set(table.heads)
        assert not any(entry and entry.owned for entry in table.parse(others))


def test_what_iproute2_made_is_right_too(overlay: Node) -> None:
    for command in ("ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent", "ip route flush proto 86"):
        overlay.run(command)
    overlay.run("bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent")
    for n in (1, 2):
        overlay.run(f"ip route replace 172.20.{n}.0/24 via 172.20.{n}.0 dev flannel.1 onlink proto 86")
    assert peers() == []


@pytest.mark.parametrize(("nexthops", "messages"), [("never", 3), ("always", 4)])
def test_one_peer_more_is_told_in_so_many_messages_and_a_no_op_in_none(
    overlay: Node, told: list[Message], nexthops: str, messages: int
) -> None:
    peers(nexthops=nexthops)
    told.clear()
    assert peers(nexthops=nexthops) == []
    assert told == []
    peers(wanted=[*PEERS, NEW], nexthops=nexthops)
    assert len(told) == messages


def test_a_changed_entry_is_one_replace(overlay: Node, told: list[Message]) -> None:
    peers(wanted=[{**PEERS[0], "underlay": "198.51.100.9"}, PEERS[1]])
    assert [(kind, flags) for kind, flags, _body in told] == [(28, 0x500)], "RTM_NEWNEIGH with NLM_F_CREATE and NLM_F_REPLACE"


def test_a_few_changes_are_proved_by_asking_for_them_alone(overlay: Node) -> None:
    made = target([*PEERS, NEW])
    made.apply(made.drift())
    overlay.run("ip route del 172.20.3.0/24")
    assert [step.command for step in made.drift()] == ["ip route replace 172.20.3.0/24 via 172.20.3.0 dev flannel.1 onlink proto 86"]


def test_the_fdb_is_not_judged_by_one_look_while_others_change_it(node: Node) -> None:
    device()
    wanted = [
        {"node": f"n{n}", "subnets": [f"10.0.{n}.0/24"], "underlay": f"203.0.113.{n}", "mac": f"02:f1:0a:00:{n:02x}:00"}
        for n in range(1, 251)
    ]
    peers(wanted=wanted)
    table = next(table for table in target(wanted)._wanted((interface("flannel.1"),)) if table.twice)
    assert table.table
    missed = 0
    with churn():
        for _time in range(60):
            looked = target(wanted)
            missed += len(looked._tables.socket.compare(table.table, table.heads, table.sizes)[0]) < 250
            assert [step.command for step in looked.drift()] == []
    sys.stdout.write(f"{missed} of 60 single dumps missed an entry\n")
