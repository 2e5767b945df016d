# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The iproute2 text from which the role flannel's restore.sh makes the overlay again, after a boot or when somebody took it away. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import groupby

from ansible_collections.podnet.baremetal.plugins.module_utils._objects import IN_PLACE, Address, Object, VxlanDevice

DIRECTORY = "/var/lib/podnet-boot"
DEVICE_FILE, PEERS_FILE = f"{DIRECTORY}/device.sh", f"{DIRECTORY}/peers.sh"
HEADER = "# Written by {} of podnet.baremetal for /etc/podnet/restore.sh, which has the words that no other program knows.\n"
BATCHES = ("ip", "bridge")  # they read commands from a file, which costs one process for all of them


def device_text(objects: Iterable[Object]) -> str:
    """The devices with what belongs to each; to be read where they are there, too, and then to change only what differs."""
    lines = [line for thing in objects for line in _device_lines(thing)]
    return HEADER.format("vxlan_device") + "".join(_script(lines))


def peers_text(objects: Iterable[Object]) -> str:
    """The entries for the peers, in the order in which they are made."""
    return HEADER.format("vxlan_peers") + "".join(_script(thing.present for thing in objects))


def _device_lines(thing: Object) -> Iterator[str]:
    if isinstance(thing, Address):
        yield thing.present.replace(" add ", " replace ", 1)
    elif isinstance(thing, VxlanDevice):
        yield f"await {thing.local}"
        yield f"there {thing.name} {thing.vni} {thing.port} || {_quoted(thing.present)}"
        # Not in any case: a MAC that is set again flushes the neighbours (neigh_changeaddr()).
        yield f"has {thing.name} {thing.mac} || {thing.setting('mac')}"
        yield from (_quoted(thing.setting(field)) for field in IN_PLACE if field != "mac")
    else:
        yield thing.present


def _script(commands: Iterable[str]) -> Iterator[str]:
    """The commands as a shell script in which neighbours of one program are one batch. Where one fails, the next follows."""
    for program, group in groupby(commands, key=lambda command: command.split(" ", 1)[0]):
        if program in BATCHES:
            yield f"replay {program} <<'END'\n"
            yield from (f"{command[len(program) + 1 :]}\n" for command in group)
            yield "END\n"
        else:
            yield from (f"{command} || failed=1\n" for command in group)


def _quoted(command: str) -> str:
    """The name of an underlay interface may hold what a shell takes for its own (dev_valid_name())."""
    return shlex.join(command.split(" "))
