# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network namespace of the kernel tests, for tests in which something goes wrong there."""

from __future__ import annotations

import runpy
from pathlib import Path

_kernel = runpy.run_path(str(Path(__file__).resolve().parents[1] / "kernel" / "conftest.py"))
node, overlay = _kernel["node"], _kernel["overlay"]
