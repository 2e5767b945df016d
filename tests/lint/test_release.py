# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user would install is what Ansible's own checks want. I/O: builds the collection; ansible-test keeps its tools below build/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = CHECKOUT / "build" / "lint"
# Which pip a version of ansible-test wants is in the file's name.
BOOTSTRAP = PLACE / ".ansible" / "test" / "cache" / "get_pip_24_2.py"
# Galaxy's own settings. It would run ansible-test in a container, and ansible-lint with fewer rules and files than test_lint.py has it.
IMPORTER = f"""\
[galaxy-importer]
ANSIBLE_LOCAL_TMP = {PLACE}/importer
CHECK_REQUIRED_TAGS = True
RUN_ANSIBLE_LINT = False
RUN_ANSIBLE_TEST = False
"""


def run(*command: str, cwd: Path = CHECKOUT) -> str:
    """What it says on both outputs; the test has failed if it returns an error."""
    system = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ours = {
        "HOME": str(PLACE),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
        "GALAXY_IMPORTER_CONFIG": str(PLACE / "importer.cfg"),
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**system, **ours},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def archive() -> Path:
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "importer.cfg").write_text(IMPORTER)
    run("ansible-galaxy", "collection", "build", "--force", f"--output-path={PLACE}")
    version = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["version"]
    return PLACE / f"podnet-baremetal-{version}.tar.gz"


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ansible-test looks for a collection: below this checkout it would ask git, which ignores what is there."""
    place = tmp_path_factory.mktemp("released") / "ansible_collections" / "podnet" / "baremetal"
    with tarfile.open(archive) as files:
        files.extractall(place)
    return place


def test_ansible_test_finds_nothing_and_ignores_nothing(unpacked: Path) -> None:
    BOOTSTRAP.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "tests" / "lint" / "get_pip.py", BOOTSTRAP)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = run("ansible-test", "sanity", f"--python={version}", "--requirements", "--color=no", cwd=unpacked)
    assert 'Running sanity test "validate-modules"' in said
    assert not list(CHECKOUT.glob("tests/sanity/ignore*"))


def test_galaxy_would_take_it_without_a_warning(archive: Path) -> None:
    said = run(sys.executable, "-m", "galaxy_importer.main", str(archive), cwd=PLACE)
    assert "Importer processing completed successfully" in said
    assert [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))] == []


def test_every_plugin_and_role_is_documented_as_the_documentation_site_wants_it() -> None:
    place = CHECKOUT / "build" / "collections" / "ansible_collections" / "podnet" / "baremetal"
    said = run("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=all", ".", cwd=place)
    assert said == ""


def test_the_site_of_the_documentation_is_made_without_a_warning() -> None:
    run("make", "docs")
    pages = {path.name for path in (CHECKOUT / "build" / "docs" / "html" / "reference").glob("*.html")}
    documented = [f"{path.stem}_module.html" for path in CHECKOUT.glob("plugins/modules/[!_]*.py")]
    assert {*documented, "flannel_role.html", "vtep_mac_filter.html", "netns_connection.html", "lab_inventory.html"} <= pages


def test_every_file_has_its_licence() -> None:
    assert "compliant" in run("reuse", "lint")


def test_an_execution_environment_gets_what_the_collection_needs(tmp_path: Path, unpacked: Path) -> None:
    needed = yaml.safe_load(run("ansible-builder", "introspect", str(unpacked.parents[2])))
    assert [line.split()[0] for line in needed["python"]] == ["grpcio"]
    assert [line.split()[0] for line in needed["system"]] == ["openssh-clients", "openssh-client"]
    run("ansible-builder", "create", "--file=docs/examples/execution-environment.yml", f"--context={tmp_path}")
    assert yaml.safe_load((tmp_path / "_build" / "requirements.yml").read_text()) == {"collections": [{"name": "podnet.baremetal"}]}
