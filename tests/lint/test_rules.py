# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the design that no linter knows, read off the files. I/O: reads the checkout."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import ChainableUndefined
from jinja2.nativetypes import NativeEnvironment

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.podnet.baremetal.plugins"
PLUGINS = sorted(CHECKOUT.glob("plugins/**/*.py"))
ROLES = sorted(path.name for path in CHECKOUT.glob("roles/*"))
MODULES = sorted(path.stem for path in CHECKOUT.glob("plugins/modules/[!_]*.py"))
PURE = (
    "_adopt",
    "_blocks",
    "_boot",
    "_changes",
    "_conflist",
    "_echoes",
    "_errors",
    "_fdb_entry",
    "_filters",
    "_forwarding",
    "_inputs",
    "_kubelet",
    "_kubelet_fields",
    "_kubelet_flags",
    "_lines",
    "_messages",
    "_nexthop",
    "_objects",
    "_overlay",
    "_own_routes",
    "_plan",
    "_pod_route",
    "_report_arguments",
    "_runtime",
    "_saved",
    "_static_neigh",
    "_unreachable_route",
    "_wire",
)
PURE_ON_THE_CONTROLLER = (
    "_drift",
    "_findings",
    "_flannel_keys",
    "_occupied",
    "_paths",
    "_place",
    "_problems",
    "_report",
    "_report_document",
    "_report_junit",
    "_report_page",
    "_report_table",
    "_sampling",
    "_snapshot",
    "_verification",
)
IO = {"asyncio", "ctypes", "fcntl", "glob", "importlib", "io", "multiprocessing", "os", "pathlib", "select", "shutil", "signal", "socket"}
IO |= {"http", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib"}
ARITHMETIC = {f"socket.{name}" for name in ("AF_BRIDGE", "AF_INET", "AF_INET6", "AF_UNSPEC", "inet_ntop", "inet_pton")}  # on addresses
# Where this checkout lies, where interpreters of one's own lie, and the address of a package registry.
MACHINES = (re.escape(f"{CHECKOUT}/"), r"/\.pyenv/", r"https?://(deb|index|pypi|registry|security)\.")
SHORTCUTS = ("# no" + "qa", "# type: " + "ignore", "shell=" + "True", "builtin" + ".shell:", "ignore_errors: " + "true")


def texts() -> Iterator[tuple[Path, str]]:
    """The files of the repository, without what .gitignore names."""
    ignored = {".git", *(line.strip("/") for line in (CHECKOUT / ".gitignore").read_text().split())}
    for directory, below, names in os.walk(CHECKOUT):
        below[:] = [name for name in below if name not in ignored]
        yield from ((path, path.read_text(errors="replace")) for name in names if (path := Path(directory, name)).suffix != ".pyc")


def imports(path: Path) -> set[str]:
    """The full names of what a file imports, `from a import b` as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: {ast.unparse(node)}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(modules: set[str], package: str = "module_utils") -> set[str]:
    """The imported ones of a package of the collection, by their last name."""
    prefix = f"{COLLECTION}.{package}."
    return {name.removeprefix(prefix).split(".")[0] for name in modules if name.startswith(prefix)}


def names_in(path: Path) -> set[str]:
    """Every name and attribute that the code of a file uses; its texts do not count."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_nothing_imports_a_module() -> None:
    assert [path for path in PLUGINS if any(name.startswith(f"{COLLECTION}.modules") for name in imports(path))] == []


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_imports_no_io_and_nothing_that_has_some(name: str) -> None:
    imported = imports(CHECKOUT / "plugins" / "module_utils" / f"{name}.py")
    assert {each.split(".")[0] for each in imported - ARITHMETIC} & IO == set()
    assert within(imported) <= set(PURE)
    assert not any(each.startswith("ansible.") for each in imported)


@pytest.mark.parametrize("name", PURE_ON_THE_CONTROLLER)
def test_what_is_pure_on_the_controller_imports_only_what_is_pure(name: str) -> None:
    imported = imports(CHECKOUT / "plugins" / "plugin_utils" / f"{name}.py")
    assert {each.split(".")[0] for each in imported} & IO == set()
    assert within(imported) <= set(PURE)
    assert within(imported, "plugin_utils") <= set(PURE_ON_THE_CONTROLLER)
    assert not any(each.startswith("ansible.") for each in imported)


@pytest.mark.parametrize(("package", "home"), [("pyroute2", "_links.py")])
def test_a_foreign_package_is_imported_in_one_file(package: str, home: str) -> None:
    statement = re.compile(rf'^\s*(import|from) {package}\b|import_module\("{package}', re.MULTILINE)
    assert [path.name for path in PLUGINS if statement.search(path.read_text())] == [home]


def test_modules_know_check_mode_and_their_end_in_one_file() -> None:
    theirs = [path for path in PLUGINS if path.parent.name in ("modules", "module_utils")]
    known = {"AnsibleModule", "check_mode", "exit_json", "fail_json"}
    assert [path.name for path in theirs if names_in(path) & known] == ["_module.py"]


def test_the_map_of_the_code_has_every_file_and_no_other() -> None:
    section = (CHECKOUT / "CONTRIBUTING.md").read_text().split("## The map\n")[1].split("\n## ")[0]
    files = {path.stem for path in PLUGINS if path.parent.name in ("module_utils", "plugin_utils")}
    assert set(re.findall(r"\b_[a-z_]+", section)) == files


def test_functions_have_at_most_thirty_lines() -> None:
    functions = [
        (f"{path.name}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in PLUGINS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [(name, lines) for name, lines in functions if lines > 30] == []


def test_every_python_file_names_its_licence() -> None:
    lacking = [path for path, text in texts() if path.suffix == ".py" and "\n# SPDX-License-Identifier" not in text[:400]]
    assert lacking == []


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_of_its_argument_specs(role: str) -> None:
    here = CHECKOUT / "roles" / role
    defaults: dict[str, Any] = yaml.safe_load((here / "defaults" / "main.yml").read_text())
    options = yaml.safe_load((here / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert set(defaults) == set(options)
    for name, value in defaults.items():
        if "default" in options[name]:
            assert without_inventory(value) == options[name]["default"], name
        else:
            assert "{{" in str(value), f"{name}: {value!r} is missing in the argument specs"


def without_inventory(value: Any) -> Any:
    """What a default comes to where the inventory sets nothing."""
    environment = NativeEnvironment(undefined=ChainableUndefined)
    return environment.from_string(value).render() if "{{" in str(value) else value


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test(module: str) -> None:
    tests = [path.read_text() for path in CHECKOUT.glob("tests/*/*.py")]
    assert any(re.search(rf"\b{module}\b", text) for text in tests)


def test_what_is_not_used_says_what_it_is() -> None:
    """ansible-test's pylint, in a checkout, takes `_` for a name; with what begins with it, it is content."""
    named = {
        f"{path.relative_to(CHECKOUT)}:{node.lineno}"
        for path in CHECKOUT.glob("tests/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "_"
    }
    assert named == set()


@pytest.mark.parametrize("pattern", MACHINES)
def test_the_repository_does_not_mention(pattern: str) -> None:
    assert [path for path, text in texts() if re.search(pattern, text)] == []


@pytest.mark.parametrize("word", SHORTCUTS)
def test_the_code_does_without(word: str) -> None:
    assert [path for path, text in texts() if word in text and path.suffix != ".md"] == []
