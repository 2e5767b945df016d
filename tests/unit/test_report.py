# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each form of the report says of a verification. No I/O but reading the page's parts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _report_page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report import fault, figures, verdict
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_junit import junit
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_page import FILES, page, page_data
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_table import table
from verifications import renamed, verification

PARTS = {name: (Path(_report_page.__file__).with_name("report") / name).read_text() for name in FILES}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x07\u2028\u202e"
REPAIR = "ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent"


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({}, ""),
        ({"received": 0, "rtt": None}, "no answer"),
        ({"received": 0, "rtt": None, "error": "Network is unreachable"}, "Network is unreachable"),
        ({"answered": "node3"}, "answered by node3"),
        ({"seen": "172.20.0.1"}, "seen as 172.20.0.1"),
        ({"fits": False}, "a packet of the MTU does not fit"),
        ({"above": True}, "a packet above the MTU went through"),
        ({"received": 2}, "1 of 3 lost"),
    ],
    ids=lambda value: str(value) or "nothing",
)
def test_what_is_wrong_with_a_path_is_said_in_a_few_words(spoilt: dict[str, Any], said: str) -> None:
    document = verification(3)
    path: Any = {**document["paths"][0], **spoilt}
    assert (path["source"], path["target"]) == ("pod", "pod")
    assert fault(path, document["nodes"]) == said


def test_a_sound_cluster_is_said_to_be_sound_and_a_broken_one_is_counted() -> None:
    sound, broken = verification(3), verification(4, broken=True)
    assert verdict(sound) == "Everything that was tested is as it should be"
    assert verdict(broken) == "3 errors and 1 warning found"
    counts = figures(broken)
    # Three of four have a pod, and from it and from the node six paths each to every other node's pod, address and gateway.
    assert (counts.verified, counts.nodes, counts.paths) == (3, 4, 3 * 3 * 2 * 3)
    # The one that is gone is missed by three, in six paths each, and in four each two pairs fail, whose underlay is sound.
    assert (counts.wrong, counts.answered) == (3 * 6 + 2 * 4, 54 - 26)
    assert counts.sent - counts.received == 3 * 26
    broken["problems"] = []
    assert verdict(broken) == "26 paths wrong, and no cause found"
    broken["paths"] = []
    assert verdict(broken) == "Not everything could be verified"


def test_three_nodes_are_a_table_with_what_is_wrong_below() -> None:
    lines = table(verification(4, broken=True), 100).splitlines()
    assert lines[0] == "3 errors and 1 warning found."
    rows = {line.split()[0]: line.split()[1:] for line in lines if re.match(r"node\d +\S+ +\S+ +\S+ +\S+$", line)}
    assert [rows["node1"][0], rows["node1"][1], rows["node3"][0], rows["node1"][3]] == ["-", "NONE", "NONE", "NONE"]
    assert re.fullmatch(r"0\.\d{3}", rows["node2"][0])
    assert f"  repair: {REPAIR}" in lines
    severities = [line.split()[0] for line in lines if line.startswith(("ERROR", "WARNING"))]
    assert severities == ["ERROR", "ERROR", "ERROR", "WARNING"]


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("count", [3, 50, 120])
def test_the_table_is_never_wider_than_the_terminal_but_for_commands(count: int, width: int) -> None:
    lines = table(verification(count, broken=True, each=0 if count < 60 else 5), width).splitlines()
    assert [line for line in lines if len(line) > width and "repair: " not in line] == []
    assert any(line.startswith("from \\ to") for line in lines) == (count == 3)


def test_many_problems_are_counted_after_the_first_ones() -> None:
    document = verification(3)
    document["problems"] = [problem for problem in verification(4, broken=True)["problems"] for _time in range(10)]
    assert table(document, 80).endswith("and 10 errors and 10 warnings more.")


def test_junit_has_a_suite_for_each_node_and_a_case_for_each_other() -> None:
    root = ET.fromstring(junit(verification(4, broken=True)))
    suites = {suite.get("name"): suite for suite in root}
    assert {name: [case.get("name") for case in suite] for name, suite in suites.items()} == {
        "node1": ["tables agree", "reaches node2", "reaches node3", "reaches node4"],
        "node2": ["tables agree", "reaches node1", "reaches node3", "reaches node4"],
        "node3": ["tables agree", "reaches node1", "reaches node2", "reaches node4"],
        "node4": ["tables agree"],
    }
    failed = {(case.get("classname"), case.get("name")) for case in root.iter("testcase") if case.find("failure") is not None}
    reach = {("node1", "reaches node2"), ("node3", "reaches node1")} | {(f"node{n}", "reaches node4") for n in (1, 2, 3)}
    assert failed == reach | {(f"node{n}", "tables agree") for n in (1, 2, 3, 4)}
    assert [root.get(count) for count in ("tests", "failures", "errors")] == ["13", "9", "1"]
    assert REPAIR in (suites["node1"][0].findtext("failure") or "")
    assert [case.get("classname") for case in root.iter("testcase") if case.find("error") is not None] == ["node4"]


def test_a_problem_of_no_node_has_a_suite_of_its_own() -> None:
    document = verification(3)
    document["problems"] = [{**verification(3, broken=True)["problems"][1], "nodes": []}]
    assert [suite.get("name") for suite in ET.fromstring(junit(document))][-1] == "the cluster"


@dataclass
class Elements:
    """What a parser makes of a page: the elements, and the texts of the scripts."""

    tags: list[str]
    scripts: list[str]


def parsed(text: str) -> Elements:
    found = Elements([], [])

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.tags.append(f"{tag} {' '.join(name for name, _value in attrs)}")

        def handle_data(self, data: str) -> None:
            if found.tags and found.tags[-1].startswith("script") and self.cdata_elem:
                found.scripts.append(data)

    Parser().feed(text)
    return found


def test_hostile_names_stay_text_in_every_form() -> None:
    sound, hostile = verification(4, broken=True), renamed(verification(4, broken=True), HOSTILE)
    pages = [parsed(page(document, PARTS)) for document in (sound, hostile)]
    assert pages[0].tags == pages[1].tags
    assert json.loads("".join(pages[1].scripts[:1]))["nodes"][0]["name"] in hostile["nodes"]
    assert ET.fromstring(junit(hostile))[0].get("name", "").startswith("node1</script>")
    shown = table(hostile, 80)
    assert "<img src=x" in shown
    assert [letter for letter in shown.replace("\n", "") if not letter.isprintable()] == []


def test_a_matrix_has_the_median_of_a_pair_or_the_words_for_what_is_wrong() -> None:
    document = verification(4, broken=True, dual=True)
    data = page_data(document)
    assert [view["title"] for view in data["views"]][:2] == ["pod to pod, IPv4", "pod to pod, IPv6"]
    rows = data["views"][0]["rows"]
    assert data["words"][-1 - rows[0][1]] == "no answer"
    assert data["words"][-1 - rows[2][0]] == "Network is unreachable"
    assert rows[3] == [None] * 4
    medians = [
        p["rtt"][1]
        for p in document["paths"]
        if p["rtt"] and (p["from"], p["to"], p["source"], p["target"]) == ("node2", "node1", "pod", "pod")
    ]
    assert rows[1][0] in medians


def test_a_card_tells_peers_that_lack_and_differ_from_those_that_are_right() -> None:
    cards = {card["name"]: card for card in page_data(verification(4, broken=True))["nodes"]}
    assert (cards["node2"]["lacking"], cards["node2"]["others"]) == ([], [])  # the one that is gone is known by its lease
    assert cards["node3"]["lacking"] == [0]
    assert cards["node1"]["lacking"] == [1]
    assert [peer["mac"] for peer in cards["node1"]["others"]] == ["02:f1:ac:14:63:00"]
    assert [card["problems"] for card in cards.values()] == [[1, 2], [1, 3], [2], [0]]
