# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make` says where it cannot install Debian packages, or unpack one. I/O: the scripts, with little around them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "packages.sh"
UNPACK = SCRIPT.with_name("unpack.sh")
MISSING = "no-such-package"
SYSTEM = "/usr/bin:/bin:/usr/sbin"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with the programs that every machine has, for a PATH that holds no other."""
    for name in ("sh", "grep", "id"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    tmp_path.chmod(0o755)
    return tmp_path


def run(*command: str, path: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={"PATH": path}, input=given, capture_output=True, text=True, check=False)


def test_another_distribution_is_told_what_to_install_by_itself(programs: Path) -> None:
    answer = run("/bin/sh", str(SCRIPT), MISSING, path=str(programs))
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"This is not Debian or Ubuntu: install the equivalents of {MISSING} yourself")
    assert answer.stderr.count("\n") == 1


def test_who_is_not_root_is_told_who_can_install() -> None:
    # By standard input: another user need not be able to read the checkout.
    answer = run("setpriv", "--reuid=65534", "--clear-groups", "/bin/sh", "-s", MISSING, path=SYSTEM, given=SCRIPT.read_text())
    assert answer.returncode == 1
    assert answer.stderr == f"The packages {MISSING} are missing and only root can install them: run make as root, or install them first.\n"


def test_what_is_there_costs_nothing() -> None:
    assert run("/bin/sh", str(SCRIPT), "iproute2", path=SYSTEM).stdout == ""


def test_another_distribution_is_told_what_to_unpack_by_itself(programs: Path, tmp_path: Path) -> None:
    answer = run("/bin/sh", str(UNPACK), MISSING, str(tmp_path / "there"), path=str(programs))
    assert answer.returncode == 1
    assert answer.stderr == (
        f"This is not Debian or Ubuntu: unpack the equivalent of {MISSING} into {tmp_path}/there yourself, then run make again.\n"
    )
    assert not (tmp_path / "there").exists()
