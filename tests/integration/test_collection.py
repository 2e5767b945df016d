# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user installs it: from its tarball, with nothing of the checkout. I/O: ansible-galaxy, and the lab."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from labs import CHECKOUT, environment

CONTENTS = {"LICENSE", "README.md", "changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "roles"}


class User:
    """Somebody with ansible-core, ansible.posix and the installed collection, in a directory of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.collections = home / "collections"
        posix = self.collections / "ansible_collections" / "ansible" / "posix"
        posix.parent.mkdir(parents=True)
        posix.symlink_to(CHECKOUT / "build/collections/ansible_collections/ansible/posix")

    @property
    def installed(self) -> Path:
        return self.collections / "ansible_collections" / "podnet" / "baremetal"

    def run(self, command: str, *arguments: str, **variables: str) -> str:
        ours = {name: value for name, value in environment().items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
        ours.update(variables, ANSIBLE_COLLECTIONS_PATH=str(self.collections), ANSIBLE_HOME=str(self.home / "ansible"))
        done = subprocess.run(
            [str(Path(sys.executable).parent / command), *arguments], cwd=self.home, env=ours, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tarball")
    galaxy = str(Path(sys.executable).parent / "ansible-galaxy")
    subprocess.run(
        [galaxy, "collection", "build", "--output-path", str(place)], cwd=CHECKOUT, env=environment(), capture_output=True, check=True
    )
    return next(place.glob("podnet-baremetal-*.tar.gz"))


def test_the_tarball_has_what_users_need_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = [name for name in archive.getnames() if name not in ("FILES.json", "MANIFEST.json")]
    assert {name.split("/")[0] for name in names} == CONTENTS
    assert [name for name in names if "__pycache__" in name or "/." in name] == []
    assert tarball.stat().st_size < 1_000_000


def test_the_installed_collection_sets_a_lab_up_by_the_names_of_its_playbooks(tarball: Path, tmp_path: Path, lab_directory: str) -> None:
    user = User(tmp_path)
    user.run("ansible-galaxy", "collection", "install", "--offline", "--no-deps", str(tarball))
    shutil.copytree(user.installed / "inventories" / "lab", tmp_path / "inventories" / "lab")

    def play(name: str) -> str:
        variables = f"podnet_ledger={tmp_path}/podnet-ledger.json lab_nodes=2"
        inventory = ["--inventory", "inventories/lab", "--extra-vars", variables]
        return user.run("ansible-playbook", f"podnet.baremetal.{name}", *inventory, PODNET_LAB_DIRECTORY=lab_directory)

    play("lab_up")
    assert play("site").count(" changed=0 ") == 0
    assert play("site").count(" changed=0 ") == 2
    play("lab_down")
    assert not Path(lab_directory).exists()
