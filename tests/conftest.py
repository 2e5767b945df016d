# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests have in common: where the collection is, and the line that ends a run. I/O: the environment, standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[1]
# The processes that tests start import the collection as the tests themselves do (pyproject.toml, pythonpath), and sitecustomize.py.
os.environ["PYTHONPATH"] = f"{CHECKOUT}/build/collections:{CHECKOUT}/tests/python"
# With it they would read letter by letter a module of Ansible's that comes to them on standard input.
os.environ.pop("PYTHONUNBUFFERED", None)
# Files and directories of tests, the longest first, so that no worker is left alone with a long one at the end.
ORDER = (
    *("test_molecule.py", "test_dual.py", "test_lint.py", "test_release.py", "test_site.py"),
    *("integration", "lint", "faults", "kernel", "bench", "unit"),
)

# How long an example takes is the machine's matter.
settings.register_profile("podnet", deadline=None)
settings.load_profile("podnet")

COUNTED = pytest.StashKey[dict[str, int]]()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    config.stash[COUNTED] = {outcome: len(reports) for outcome, reports in terminalreporter.stats.items()}


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """`N passed, N failed`, after pytest's own summary. A test that could not be set up or taken down has failed."""
    counted = config.stash.get(COUNTED, None)
    if counted is None:
        return
    passed = counted.get("passed", 0)
    failed = sum(counted.get(outcome, 0) for outcome in ("failed", "error", "xfailed", "xpassed"))
    skipped = f", {counted['skipped']} skipped" if counted.get("skipped") else ""
    sys.stdout.write(f"{passed} passed, {failed} failed{skipped}\n")
    sys.stdout.flush()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((rank for rank, name in enumerate(ORDER) if name in item.path.parts[-2:]), len(ORDER)))
