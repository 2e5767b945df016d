# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Python that the tests start begins with, as the module site has it. No I/O."""

from __future__ import annotations

import gc
import os
import warnings

# Python looks every 700 objects by default, which takes a sixth of the CPU time of a site.yml that changes nothing: Ansible keeps most of
# what it makes until it ends.
gc.set_threshold(200_000)

# Of `make test-matrix`: Ansible logs there what it displays, its warnings too. Tests pass on nothing whose name begins with ANSIBLE_.
# Python's own warnings about code of ours are errors, as in pytest's process (pyproject.toml).
if log := os.environ.get("MATRIX_LOG"):
    os.environ.setdefault("ANSIBLE_LOG_PATH", log)
    os.environ["ANSIBLE_DEPRECATION_WARNINGS"] = "true"
    warnings.filterwarnings("error", category=DeprecationWarning, module=r"ansible_collections\.podnet")
