# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-matrix`: the tests under several versions of ansible-core, as a table. I/O: build/matrix, pip, pytest."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = CHECKOUT / "build" / "matrix"
# The oldest core of meta/runtime.yml, one in the middle, and the newest, each with the Pythons that a controller may have, the likeliest
# first: docs.ansible.com, "ansible-core support matrix". 2.19, the first with data tagging, is the one of `make test`.
CORES = {"2.16.0": ("3.11", "3.12", "3.10"), "2.18.19": ("3.11", "3.12", "3.13"), "2.21.5": ("3.13", "3.12", "3.14")}
# Of nodes: Debian 12's pyroute2 to the newest.
TARGETS = {"3.9": "0.7.2", "3.10": "0.7.12", "3.11": "0.8.1", "3.12": "0.9.1", "3.13": "0.9.7"}
OLD_CORES, OLD_CORES_LAST_TARGET = (2, 17), (3, 12)  # the same matrix: up to 2.17, nodes have at most Python 3.12
# Where Pythons are that are on no PATH, or there only as a shim of pyenv's.
HOMES = ("{PYENV_ROOT}/versions/{python}*/bin/python", "{UV_PYTHON_INSTALL_DIR}/cpython-{python}.*/bin/python{python}")
MOUNT = 'mount --bind "$0" build/collections && exec "$@"'  # in a mount namespace of the run's own
IMPORTED = ("grpcio", "hypothesis", "kubernetes", "pyroute2", "pytest", "pytest-xdist")  # by the tests, as in requirements.txt
COUNTED = re.compile(r"^(\d+) passed, (\d+) failed", re.MULTILINE)
# A line of the log is a date, a process, a user, a logger and a level; the warning may go on in the next.
DEPRECATED = re.compile(r"\[DEPRECATION WARNING\].*|\[WARNING\].*deprecat.*", re.IGNORECASE)
ROW = "{:>12} {:>7} {:>7} {:>7} {:>21}\n"


@dataclass(frozen=True)
class Run:
    """The tests under one core: its Python, what passed and failed, and each deprecation warning once."""

    core: str
    python: str
    passed: int
    failed: int
    warnings: tuple[str, ...]
    code: int

    @property
    def clean(self) -> bool:
        return not (self.code or self.failed or self.warnings)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2])


def interpreter(python: str) -> str:
    """The path of a Python of this version; "" where there is none."""
    home = str(Path.home())
    roots = {"PYENV_ROOT": f"{home}/.pyenv", "UV_PYTHON_INSTALL_DIR": f"{home}/.local/share/uv/python"}
    set_here = {name: os.environ.get(name, default) for name, default in roots.items()}
    patterns = [home.format(python=python, **set_here).lstrip("/") for home in HOMES]
    names = [f"/usr/bin/python{python}", shutil.which(f"python{python}"), *(str(p) for each in patterns for p in Path("/").glob(each))]
    return next((name for name in names if name and is_python(name, python)), "")


def is_python(path: str, python: str) -> bool:
    """A shim of pyenv's is there for versions that are not chosen, and fails."""
    if not Path(path).exists():
        return False
    asked = [path, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == python


def environment(directory: Path, python: str, *requirements: str) -> str:
    """The Python of a virtual environment that has these packages; made where it does not have exactly those."""
    done, wanted = directory / "done", "\n".join([python, *requirements])
    if not done.exists() or done.read_text() != wanted:
        sys.stdout.write(f"Installing {requirements[0]} for {python} into {directory.relative_to(CHECKOUT)} ...\n")
        sys.stdout.flush()
        subprocess.run([python, "-m", "venv", "--clear", str(directory)], check=True)
        pip = [f"{directory}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        done.write_text(wanted)
    return f"{directory}/bin/python"


def controller(core: str, python: str) -> str:
    """Molecule is the newest that takes this core, everything else is as in requirements.txt."""
    pins = (CHECKOUT / "requirements.txt").read_text().splitlines()
    return environment(PLACE / core, python, f"ansible-core=={core}", "molecule", *(pin for pin in pins if pin.split("==")[0] in IMPORTED))


def collections(core: str) -> str:
    """Those that the Python package `ansible` of this core has, instead of build/collections: others may not take the core, or warn.

    Its version 9 came with ansible-core 2.16, and so on.
    """
    directory, package = PLACE / core / "collections", f"ansible=={numbers(core)[1] - 7}.*"
    if not directory.exists():
        wheels = PLACE / core / "wheels"
        pip = [f"{PLACE / core}/bin/python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", str(wheels), package], check=True)
        _unpack(next(wheels.glob("ansible-*.whl")), directory)
    return str(directory)


def _unpack(wheel: Path, directory: Path) -> None:
    """The collections that build/collections has, beside the same link to this checkout: seen at its place, it leads there."""
    ours = directory.with_name("collections.new")
    shutil.rmtree(ours, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        wanted = tuple(f"ansible_collections/{name}/" for name in ("ansible/posix", "community/general", "kubernetes/core"))
        archive.extractall(ours, [name for name in archive.namelist() if name.startswith(wanted)])
    (ours / "ansible_collections" / "podnet").mkdir()
    (ours / "ansible_collections" / "podnet" / "baremetal").symlink_to("../../../..")
    ours.rename(directory)


def targets(core: str, pythons: dict[str, str]) -> dict[str, str]:
    """The interpreters of the nodes that this core can manage, by their versions."""
    most = OLD_CORES_LAST_TARGET if numbers(core) <= OLD_CORES else max(map(numbers, pythons))
    return {
        python: environment(PLACE / f"target-{python}", path, f"pyroute2=={TARGETS[python]}")
        for python, path in pythons.items()
        if numbers(python) <= most
    }


def run(core: str, version: str, python: str, nodes: dict[str, str], tests: list[str]) -> Run:
    log = PLACE / f"{core}.log"
    log.unlink(missing_ok=True)
    told = {**os.environ, "MATRIX_LOG": str(log), "MATRIX_TARGETS": json.dumps(nodes)}
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        MOUNT,
        collections(core),
        python,
        "-m",
        "pytest",
        "--numprocesses=2",
        "--dist=loadfile",
        "--no-loadscope-reorder",
        *tests,
    ]
    said = ""
    with subprocess.Popen(command, cwd=CHECKOUT, env=told, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            said += line
    passed, failed = map(int, (COUNTED.findall(said) or [(0, 0)])[-1])
    return Run(core, version, passed, failed, tuple(warnings(log)), process.returncode)


def warnings(log: Path) -> Iterator[str]:
    if log.exists():
        yield from dict.fromkeys(DEPRECATED.findall(log.read_text(errors="replace")))


def chosen(cores: list[str], nodes: list[str]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """The Python of each core, version and path, and that of each node. Ends with a sentence where one is missing."""
    found = {core: next(((each, path) for each in pythons(core) if (path := interpreter(each))), ("", "")) for core in cores}
    on_nodes = {python: interpreter(python) for python in nodes}
    missing = [f"Python {' or '.join(pythons(core))} for ansible-core {core}" for core in cores if not found[core][1]]
    missing += [f"Python {python} for a node" for python in nodes if not on_nodes[python]]
    if missing:
        sys.exit(f"Missing: {', '.join(missing)}. Install them with pyenv or uv, or choose others by CORES and TARGETS.")
    return found, on_nodes


def pythons(core: str) -> tuple[str, ...]:
    """The versions that a controller with this core may have: those of the nearest core of the matrix that is not newer."""
    return next((CORES[known] for known in reversed(CORES) if numbers(known) <= numbers(core)), CORES["2.16.0"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", nargs="*", default=list(CORES))
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--tests", nargs="*", default=["tests/integration", "tests/test_molecule.py", "tests/matrix/targets.py"])
    asked = parser.parse_args()
    found, on_nodes = chosen(asked.cores, asked.targets)
    runs = [run(core, version, controller(core, path), targets(core, on_nodes), asked.tests) for core, (version, path) in found.items()]
    sys.stdout.write("\n" + ROW.format("ansible-core", "Python", "passed", "failed", "deprecation warnings"))
    for each in runs:
        sys.stdout.write(ROW.format(each.core, each.python, each.passed, each.failed, len(each.warnings)))
        sys.stdout.writelines(f"  {warning}\n" for warning in each.warnings)
    sys.exit(not all(each.clean for each in runs))


if __name__ == "__main__":
    main()
