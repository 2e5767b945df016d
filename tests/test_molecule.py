# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every molecule scenario, as a person would run it. I/O: molecule, and the lab."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# Not below the checkout: molecule does not quote it, and a checkout's path may have spaces.
PLACE = f"/run/podnet-molecule-{hashlib.sha256(bytes(CHECKOUT)).hexdigest()[:8]}"
SCENARIOS = sorted(path.parent.name for path in CHECKOUT.glob("molecule/*/molecule.yml"))


def environment(scenario: str) -> dict[str, str]:
    """Without what the caller has set for Ansible, and with a place for the scenario's state that no other checkout has."""
    system = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "PODNET_"))}
    return {
        **system,
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/sbin:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": f"{PLACE}/{scenario}",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_scenario_passes(scenario: str) -> None:
    with (CHECKOUT / "molecule" / scenario / "molecule.yml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # molecule inherits it, and so holds it for as long as it lives
        done = subprocess.run(
            ["molecule", "test", "--scenario-name", scenario],
            cwd=CHECKOUT,
            env=environment(scenario),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock.fileno()],
            check=False,
        )
    assert done.returncode == 0, done.stdout
    shutil.rmtree(PLACE)
