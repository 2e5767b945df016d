# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a node is tested with, what is sent to whom and when, and what the answers come to."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._echoes import (
    ABOVE,
    ECHO,
    FULL,
    PAUSE,
    Log,
    Reply,
    Way,
    answer,
    echo_request,
    line,
    number_in,
    question,
    results,
    said,
    schedule,
    ways,
)
from ansible_collections.podnet.baremetal.plugins.plugin_utils._sampling import sample
from hypothesis import given
from hypothesis import strategies as st

WORD = b"\x01\x02\x03\x04"
TARGETS = [
    {"node": f"node{n}", "pods": [f"172.20.{n}.2"], "gateways": [f"172.20.{n}.1"], "addresses": [f"198.51.100.{n}", f"2001:db8::{n}"]}
    for n in (1, 2)
]
WAY = Way("pod", "node2", "pod", "172.20.2.2", 1450)


@given(count=st.integers(1, 60), each=st.integers(0, 70), first=st.integers(0, 1000))
def test_enough_runs_cover_every_ordered_pair_and_none_asks_more_than_its_share(count: int, each: int, first: int) -> None:
    names = [f"node{number}" for number in range(count)]
    share = each if 0 < each < count - 1 else count - 1
    runs = range(first, first + (-(-(count - 1) // share) if share else 1))
    tested = [(name, other) for run in runs for name in names for other in sample(names, name, each, run)]
    assert set(tested) == {(name, other) for name in names for other in names if name != other}
    assert len(tested) == len(runs) * count * share
    asked = [other for name in names for other in sample(names, name, each, first)]
    assert {asked.count(name) for name in names} == {share}


def test_a_node_asks_all_but_itself_and_its_pod_only_in_families_that_it_has() -> None:
    found = ways("node1", TARGETS, pod=True)
    assert [(way.source, way.target, way.address) for way in found] == [
        ("pod", "gateway", "172.20.1.1"),
        ("pod", "node", "198.51.100.1"),
        ("node", "pod", "172.20.1.2"),
        ("pod", "pod", "172.20.2.2"),
        ("pod", "gateway", "172.20.2.1"),
        ("pod", "node", "198.51.100.2"),
        ("node", "pod", "172.20.2.2"),
        ("node", "gateway", "172.20.2.1"),
        ("node", "node", "198.51.100.2"),
        ("node", "node", "2001:db8::2"),
    ]
    assert {way.source for way in ways("node1", TARGETS, pod=False)} == {"node"}


def test_rounds_follow_each_other_and_no_two_packets_are_due_at_once() -> None:
    found = [WAY, WAY._replace(address="2001:db8::2"), WAY._replace(mtu=None)]
    packets = schedule(found, 2)
    assert [(packet.way, packet.size, packet.kind) for packet in packets] == [
        *[(0, 0, ""), (1, 0, ""), (2, 0, "")] * 2,
        *[(0, 1422, FULL), (1, 1402, FULL), (0, 1423, ABOVE), (1, 1403, ABOVE)],
    ]
    due = [packet.due for packet in packets]
    assert all(later - earlier >= 0.99 * PAUSE for earlier, later in zip(due, due[1:]))


def test_what_is_asked_comes_back_with_a_name_and_a_source() -> None:
    asked = question(WORD, 7, 100)
    told = answer(asked, "node2", "172.20.1.2")
    assert len(asked) == 100
    assert (number_in(told, WORD), said(told)) == (7, ("172.20.1.2", "node2"))
    assert number_in(b"\x45" + bytes(19) + asked, WORD) == 7
    assert number_in(told, bytes(4)) is None
    assert number_in(asked[:11], WORD) is None


@pytest.mark.parametrize("noise", [b"", b"pnet", b"x" * 100])
def test_what_is_no_question_gets_no_answer(noise: bytes) -> None:
    assert answer(noise, "node2", "172.20.1.2") == b""


@given(number=st.integers(0, 2**32 - 1), size=st.integers(12, 1500))
def test_the_checksum_of_an_echo_comes_out_even(number: int, size: int) -> None:
    packet = echo_request(WORD, number, size, ipv6=False)
    assert (len(packet), packet[:2]) == (ECHO.size + size, b"\x08\x00")
    total = sum(struct.unpack(f"!{len(packet) // 2 + len(packet) % 2}H", packet + bytes(len(packet) % 2)))
    assert total % 0xFFFF == 0


def test_a_path_has_the_median_the_losses_and_of_two_that_answer_the_wrong_one() -> None:
    packets = schedule([WAY], 4)
    sent = {number: float(number) for number in range(6)}
    replies = {
        0: [Reply(0.004, "172.20.1.2", "node2"), Reply(0.005, "172.20.1.2", "node9")],
        1: [Reply(1.002, "172.20.1.2", "node2")],
        2: [Reply(2.001, "172.20.1.2", "node2")],
        4: [Reply(4.001, "172.20.1.2", "node2")],
    }
    (path,) = results("node1", [WAY], packets, Log(sent, replies, {3: "No route to host", 5: "Message too long"}))
    assert (path["sent"], path["received"], path["rtt"]) == (4, 3, [1.0, 2.0, 4.0])
    assert (path["fits"], path["above"]) == (True, False)
    assert (path["seen"], path["answered"], path["error"]) == ("172.20.1.2", "node9", "No route to host")
    assert line("node1", [path]) == "node1: 0 of 1 answer, 1 are answered by another node"
    right = {**path, "answered": "node2", "fits": False, "above": True}
    notes = "1 lose packets, 1 take no full packet, 1 take a packet above the MTU"
    assert line("node1", [right, {**path, "received": 0, "answered": ""}]) == f"node1: 1 of 2 answer, 1.00/2.00/4.00 ms, {notes}"
