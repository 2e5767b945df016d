# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters have nothing to say. I/O: reads the checkout; the linters keep their caches in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in CHECKOUT.glob("plugins/modules/[!_]*.py"))
FILTERS = sorted(path.stem for path in CHECKOUT.glob("plugins/filter/*.yml"))
IMPORTED = "build/collections:tests/integration:tests/kernel:tests/bench:tests/faults"
TESTS = sorted({str(path.parent.relative_to(CHECKOUT)) for path in CHECKOUT.glob("tests/**/*.py")})
ROLES = sorted(path.name for path in CHECKOUT.glob("roles/*"))


def silent(*command: str) -> None:
    """The test has failed, with what the command said, if it returns an error or writes to its standard error."""
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def run(*command: str) -> subprocess.CompletedProcess[str]:
    system = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ours = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": "ansible.cfg",
        "NO_COLOR": "1",
        "MYPYPATH": IMPORTED,
    }
    return subprocess.run(
        command, cwd=CHECKOUT, env={**system, **ours}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_ruff_finds_nothing() -> None:
    silent("ruff", "check", "--quiet")


def test_the_code_is_formatted() -> None:
    silent("ruff", "format", "--check", "--quiet")


def test_the_types_of_the_plugins_are_strict() -> None:
    silent("mypy", "--strict", "-p", "ansible_collections.podnet.baremetal.plugins")


@pytest.mark.parametrize("directory", TESTS)  # two may have a conftest each, which mypy would take for one module
def test_the_types_of_the_tests_are_strict(directory: str) -> None:
    silent("mypy", "--strict", *(str(path) for path in sorted(CHECKOUT.glob(f"{directory}/*.py"))))


def test_ansible_lint_finds_nothing_in_its_strictest_profile() -> None:
    done = run("ansible-lint", "--strict", "--offline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Profile 'production' was required" in done.stderr, done.stderr


def test_no_rule_of_ansible_lint_is_skipped() -> None:
    assert "skip_list" not in (CHECKOUT / ".ansible-lint.yml").read_text()
    assert not (CHECKOUT / ".ansible-lint-ignore").exists()


def test_the_yaml_is_tidy() -> None:
    silent("yamllint", "--strict", ".")


def test_the_changelog_is_sound() -> None:
    silent("antsibull-changelog", "lint")


@pytest.mark.parametrize(
    ("kind", "names"),
    [("module", MODULES), ("filter", FILTERS), ("role", ROLES), ("connection", ["netns"]), ("inventory", ["lab"])],
)
def test_ansible_doc_shows_every_plugin_without_a_warning(kind: str, names: list[str]) -> None:
    assert names
    silent("ansible-doc", "--type", kind, *(f"podnet.baremetal.{name}" for name in names))
