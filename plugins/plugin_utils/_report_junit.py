# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as JUnit XML, for pipelines: a suite for each node, with a case for its tables and one for each other node. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from ansible_collections.podnet.baremetal.plugins.plugin_utils._report import fault, natural
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Node, Path, Problem

# What XML 1.0 (2.2, Char) has no place for, not even as a reference.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
CLUSTER = "the cluster"


def junit(document: Document) -> str:
    paths = defaultdict(list)
    for path in document["paths"]:
        paths[path["from"]].append(path)
    root = ET.Element("testsuites", name="podnet.baremetal.verify", time=f"{document['took']:.3f}")
    for name in sorted(document["nodes"], key=natural):
        _suite(root, name, document, paths[name])
    of_nobody = [problem for problem in document["problems"] if not set(problem["nodes"]) & set(document["nodes"])]
    if of_nobody:
        _counted(ET.SubElement(root, "testsuite", name=CLUSTER), [_tables(CLUSTER, None, of_nobody)])
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, name: str, document: Document, paths: Iterable[Path]) -> None:
    of_node = [problem for problem in document["problems"] if name in problem["nodes"]]
    pairs = defaultdict(list)
    for path in paths:
        pairs[path["to"] or "services"].append(path)
    suite = ET.SubElement(root, "testsuite", name=_xml(name), timestamp=document["made"].removesuffix("Z"))
    reached = (_pair(name, to, pairs[to], document["nodes"]) for to in sorted(pairs, key=natural))
    _counted(suite, [_tables(name, document["nodes"][name], of_node), *reached])


def _tables(name: str, node: Node | None, problems: Iterable[Problem]) -> ET.Element:
    case = ET.Element("testcase", classname=_xml(name), name="tables agree")
    if node and node["state"] != "verified":
        ET.SubElement(case, "error", type=node["state"], message=_xml(node["reason"] or node["state"]))
    errors = [problem for problem in problems if problem["severity"] == "error"]
    if errors:
        lines = [f"{problem['hop']}: {problem['text']} Repair: {problem['repair'] or 'none known'}" for problem in errors]
        ET.SubElement(case, "failure", type=_xml(errors[0]["cause"]), message=_xml(errors[0]["text"])).text = _xml("\n".join(lines))
    notes = [problem["text"] for problem in problems if problem["severity"] == "warning"]
    if notes:
        ET.SubElement(case, "system-out").text = _xml("\n".join(notes))
    return case


def _pair(name: str, to: str, paths: Iterable[Path], nodes: dict[str, Node]) -> ET.Element:
    case = ET.Element("testcase", classname=_xml(name), name=_xml(f"reaches {to}"))
    wrong = [f"{path['source']} to {path['target']} {path['address']}: {said}" for path in paths if (said := fault(path, nodes))]
    if wrong:
        ET.SubElement(case, "failure", type="path", message=_xml(wrong[0])).text = _xml("\n".join(wrong))
    return case


def _counted(suite: ET.Element, cases: list[ET.Element]) -> None:
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(sum(case.find(kind) is not None for case in cases)))


def _xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
