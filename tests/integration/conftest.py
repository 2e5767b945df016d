# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of the tests' own. I/O: the lab."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, api_server
from labs import DIRECTORY, Lab, play, take_away


@pytest.fixture(scope="session", autouse=True)
def _no_labs_of_killed_tests() -> None:
    for directory in glob.glob(f"{DIRECTORY}-*"):
        if not Path("/proc", directory.split("-")[2]).exists():
            take_away(directory)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three nodes for all tests; a test leaves them as it found them."""
    directory = f"{DIRECTORY}-{os.getpid()}-session"
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 3}).succeeded()
        yield Lab(directory)
    finally:
        take_away(directory)


@pytest.fixture
def lab_directory() -> Iterator[str]:
    """For a test that makes a lab itself."""
    directory = f"{DIRECTORY}-{os.getpid()}-test"
    yield directory
    take_away(directory)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def api(server: ApiServer) -> Iterator[ApiServer]:
    """An API server without Nodes."""
    yield server
    server.empty()
