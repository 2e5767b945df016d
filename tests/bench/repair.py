# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look of the repair timer at a node on which all is right, against a run of vxlan_peers there. I/O: the kernel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import device_text, peers_text
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import Address, VxlanDevice
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import peers_target
from kernel import DEVICE, OWN_MAC, OWN_UNDERLAY, new_device, node, peers
from measure import Row, Side, answer, by_turns
from programs import MODULE, SHORT, Program

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "flannel" / "files" / "restore.sh"
TABLE = """table inet podnet
delete table inet podnet
table inet podnet {
set peers {
type ipv4_addr
elements = { ELEMENTS }
}
chain input {
type filter hook input priority filter; policy accept;
udp dport 8472 ip saddr != @peers drop
}
}
"""
PUT_BACK = "The overlay of this node is not as it was left: putting it back.\n"


def repair(n: int, runs: int, scratch: Path) -> Iterator[Row]:
    """`repair`: nothing to do. `repair, from nothing`: what a boot does, against the program that does the same."""
    directory, ours = scratch / f"repair{n}", Program(peers(n))
    directory.mkdir()
    shutil.copy(SCRIPT, directory)
    (directory / "subnet.env").touch()
    with node():
        _texts(n, directory)
        put_back = Side(lambda: _tick(directory), lambda: _gone(directory), lambda said: _is(said, PUT_BACK))
        yield Row("repair, from nothing", n, "s CPU", *by_turns(put_back, ours.side(n, new_device), runs))
        _tick(directory)
        looks = Side(lambda: _tick(directory), check=lambda said: _is(said, ""), times=SHORT)
        yield Row("repair", n, "s CPU", *by_turns(looks, ours.side(0, times=SHORT), runs))


def _texts(n: int, directory: Path) -> None:
    texts = directory / "texts"
    texts.mkdir()
    (texts / ".made-by-podnet").touch()
    device = VxlanDevice(DEVICE, 1, 8472, OWN_UNDERLAY, "eth0", OWN_MAC, 1450)
    (texts / "device.sh").write_text(device_text([device, Address(DEVICE, "10.0.0.0/32")]))
    elements = ", ".join(peer["underlay"] for peer in peers(n))
    (directory / "podnet.nft").write_text(TABLE.replace("ELEMENTS", elements))
    options = MODULE.validated({"device": DEVICE, "plan": pack_plan(peers(n)), "node": "node0"})
    (texts / "peers.sh").write_text(peers_text(peers_target(options).objects()))


def _tick(directory: Path) -> str:
    directories = {"RUNTIME_DIRECTORY": f"{directory}/run", "STATE_DIRECTORY": f"{directory}/texts"}
    return answer(["sh", f"{directory}/restore.sh"], env={**os.environ, **directories})


def _gone(directory: Path) -> None:
    new_device()
    (directory / "run" / ".left-by-podnet").unlink(missing_ok=True)


def _is(said: str, expected: str) -> None:
    assert said == expected, said
