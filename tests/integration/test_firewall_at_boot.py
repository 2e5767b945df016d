# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nftables table of a node with a real systemd: there before the network after a boot, and after nftables.service. I/O: such a node."""

from __future__ import annotations

from pathlib import Path

from booted import Booted, booted

UNIT = "podnet-firewall.service"
FOREIGN = "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n}\n"  # as Debian's package has it, and shorter


def test_the_table_comes_back_before_the_network_and_whenever_nftables_service_flushes_it(tmp_path: Path) -> None:
    with booted("firewall", nodes=2) as nodes:
        ledger = str(tmp_path / "podnet-ledger.json")
        plays = [{"hosts": "node1", "gather_facts": False, "become": True, "roles": ["podnet.baremetal.flannel"]}]
        nodes.play(plays, podnet_ledger=ledger).succeeded()
        table = run(nodes, "nft list table inet podnet")
        assert "198.51.100.2" in table
        nodes.run("node1", "tee", "/etc/nftables.conf", input=FOREIGN)
        for verb in ("start", "reload", "restart", "stop"):
            run(nodes, f"systemctl {verb} nftables")
            assert run(nodes, "nft list table inet podnet") == table, verb
        run(nodes, "systemctl enable nftables")

        nodes.reboot("node1")
        assert run(nodes, "nft list table inet podnet") == table
        assert "table inet filter" in run(nodes, "nft list tables"), "both are there"
        assert run(nodes, f"systemctl is-active {UNIT}") == "active\n"
        since = [moment(nodes, unit) for unit in ("nftables.service", UNIT, "network-pre.target")]
        assert since == sorted(since)
        assert all(since)

        nodes.play(plays, podnet_ledger=ledger, flannel_state="absent").succeeded()
        assert "podnet" not in run(nodes, "nft list tables")
        nodes.reboot("node1")
        assert "podnet" not in run(nodes, "nft list tables")
        assert run(nodes, f"systemctl show --property=LoadState --value {UNIT}") == "not-found\n"


def run(nodes: Booted, command: str) -> str:
    return nodes.run("node1", *command.split()).stdout


def moment(nodes: Booted, unit: str) -> int:
    """When it became active, in microseconds since the boot."""
    return int(run(nodes, f"systemctl show --property=ActiveEnterTimestampMonotonic --value {unit}"))
