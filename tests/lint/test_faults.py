# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of faults names tests that are there, and each fault once. I/O: reads the checkout."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS = [line.split(" | ") for line in (CHECKOUT / "docs" / "faults.md").read_text().splitlines() if re.match(r"\| ([A-G]\d|\| what)", line)]
NAMED = re.compile(r"`(\w+/test_\w+\.py)` (test_\w+)")
FAULTS = {"A": 20, "B": 22, "C": 11, "D": 16, "E": 12, "F": 14, "G": 7}


def test_each_test_that_the_list_names_is_there() -> None:
    missing = [
        f"{file} {test}"
        for row in ROWS
        for file, test in NAMED.findall(row[-1])
        if f"\ndef {test}(" not in (CHECKOUT / "tests" / file).read_text()
    ]
    assert missing == []


def test_each_fault_is_listed_once_with_a_test_or_with_the_reason_why_not() -> None:
    listed = [fault for row in ROWS for fault in row[0].strip("| ").split(", ") if fault]
    assert sorted(listed) == sorted(f"{part}{number}" for part, count in FAULTS.items() for number in range(1, count + 1))
    assert [row[0] for row in ROWS if not NAMED.search(row[-1]) and "*" not in row[2]] == []
