# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages name is there, and what is there is named. I/O: reads the checkout."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST_CELL = re.compile(r"^\| ([^|]*)\|", re.MULTILINE)


def names(page: str, form: str) -> set[str]:
    """What the first cells of a page's tables name in this form."""
    return {name for cell in FIRST_CELL.findall((CHECKOUT / page).read_text()) for name in re.findall(form, cell)}


def stems(pattern: str) -> set[str]:
    return {path.stem for path in CHECKOUT.glob(pattern)}


def test_the_contents_name_every_playbook_role_module_filter_and_plugin_and_no_other() -> None:
    plugins = stems("plugins/modules/[!_]*.py") | stems("plugins/filter/*.yml")
    plugins |= {path.stem for kind in ("connection", "inventory", "callback") for path in CHECKOUT.glob(f"plugins/{kind}/[!_]*.py")}
    assert names("docs/contents.md", r"`([a-z0-9_]+)`") == plugins
    assert names("docs/contents.md", r"`podnet\.baremetal\.(\w+)`") == stems("playbooks/*.yml") - {"demo"}
    assert names("docs/contents.md", r"\[(\w+)\]\(\.\./roles/\1/README\.md\)") == stems("roles/*")


def test_the_table_of_variables_has_each_that_a_role_takes_and_none_that_nothing_reads() -> None:
    described = names("docs/variables.md", r"`(podnet_\w+)`")
    defaults = "".join(path.read_text() for path in CHECKOUT.glob("roles/*/defaults/main.yml"))
    code = "".join(path.read_text() for place in ("plugins/action", "plugins/plugin_utils") for path in (CHECKOUT / place).glob("*.py"))
    assert set(re.findall(r"podnet_\w+", defaults)) <= described
    assert {name for name in described if name not in defaults + code} == set()


def test_the_front_page_leads_to_every_page_at_once() -> None:
    front = (CHECKOUT / "README.md").read_text()
    assert {path.name for path in CHECKOUT.glob("docs/*.md")} - set(re.findall(r"\(docs/([a-z0-9-]+\.md)", front)) == set()
