# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CNI configuration lists: what is built, what is refused. Reads golden files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._conflist import checked, desired, parsed, plugin_types, printed
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused

GOLDEN = Path(__file__).parent.parent / "golden" / "vxlan"  # recorded from flanneld v0.28.9
OPTIONS: dict[str, Any] = {
    "form": None,
    "content": None,
    "name": "cbr0",
    "cni_version": "0.3.1",
    "subnets": ["203.0.113.0/25"],
    "cluster_cidrs": ["203.0.113.0/24"],
    "mtu": 1450,
    "bridge": "cni0",
    "masquerade": True,
}


def built(**options: Any) -> dict[str, Any]:
    return desired({**OPTIONS, **options}, "node1")


def listed(*plugins: Any) -> dict[str, Any]:
    return {"name": "cbr0", "cniVersion": "0.3.1", "plugins": list(plugins)}


def test_the_default_form_is_flannels_own_file() -> None:
    assert built() == json.loads((GOLDEN / "10-flannel.conflist").read_text())


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
@pytest.mark.parametrize("case", ["vxlan", "dual"])
def test_the_bridge_form_is_what_flannels_plugin_hands_to_the_bridge_plugin(case: str, node: str) -> None:
    delegate = json.loads((GOLDEN.parent / case / f"{node}.delegate.json").read_text())
    subnets = [ranges[0]["subnet"] for ranges in delegate["ipam"]["ranges"]]
    clusters = [route["dst"] for route in delegate["ipam"]["routes"]]
    conflist = built(form="bridge", subnets=subnets, cluster_cidrs=clusters)
    bridge, portmap = conflist["plugins"]
    assert {**bridge, "name": conflist["name"], "cniVersion": conflist["cniVersion"]} == delegate
    assert portmap == json.loads((GOLDEN / "10-flannel.conflist").read_text())["plugins"][1]


def test_a_pod_gets_an_address_of_each_subnet_and_a_route_to_each_cluster_network() -> None:
    clusters = ["203.0.113.0/24", "2001:db8::/48"]
    ipam = built(form="bridge", subnets=["203.0.113.0/25", "2001:db8:0:1::/64"], cluster_cidrs=clusters)["plugins"][0]["ipam"]
    assert ipam["ranges"] == [[{"subnet": "203.0.113.0/25"}], [{"subnet": "2001:db8:0:1::/64"}]]
    assert ipam["routes"] == [{"dst": cluster} for cluster in clusters]


def test_the_bridge_masquerades_when_the_node_does_not() -> None:
    assert built(form="bridge", masquerade=False)["plugins"][0]["ipMasq"] is True


@pytest.mark.parametrize("form", ["flannel", "bridge"])
def test_another_bridge_name_is_written_out(form: str) -> None:
    plugin = built(form=form, bridge="cni1")["plugins"][0]
    assert plugin.get("delegate", plugin)["bridge"] == "cni1"


def test_what_is_printed_reads_back_as_the_same_list() -> None:
    assert parsed(printed(built(form="bridge")), "a file") == built(form="bridge")


def test_a_file_of_one_plugin_is_a_list_of_one() -> None:
    conflist = parsed('{"name": "lo", "cniVersion": "1.0.0", "type": "loopback"}', "99-loopback.conf")
    assert [plugin["type"] for plugin in conflist["plugins"]] == ["loopback"]
    assert conflist["name"] == "lo"


def test_all_executables_of_a_list_are_known() -> None:
    assert plugin_types(built()) == ["flannel", "bridge", "host-local", "portmap"]
    assert plugin_types(built(form="bridge")) == ["bridge", "host-local", "portmap"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"subnets": None}, "subnets is null"),
        ({"subnets": ["203.0.113.1/25"]}, "203.0.113.0/25 would be accepted"),
        ({"subnets": ["203.0.113.0/25\n"]}, r"subnets is '203.0.113.0/25\\n':"),
        ({"subnets": ["203.0.113.256/25"]}, "subnets is 203.0.113.256/25"),
        ({"subnets": ["198.51.100.0/25"]}, r"a part of cluster_cidrs \(203.0.113.0/24\) would be accepted"),
        ({"subnets": ["2001:db8::/64"]}, r"a part of cluster_cidrs"),
        ({"subnets": ["203.0.112.0/23"]}, r"a part of cluster_cidrs"),
        ({"subnets": ["203.0.113.0/31"]}, "at least 4 addresses"),
        ({"cluster_cidrs": []}, r"cluster_cidrs is \[\]"),
        ({"mtu": None}, "mtu is None: form bridge needs one from 68"),
        ({"mtu": 67}, "mtu is 67"),
        ({"bridge": "../x"}, 'bridge is "../x"'),
        ({"bridge": "cni%d"}, 'bridge is "cni%d"'),
        ({"name": "a/b"}, 'name is "a/b"'),
        ({"name": "cbr0\n"}, "name is"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=f"^node1: .*{sentence}"):
        built(form="bridge", **options)


def test_subnets_are_checked_also_where_they_are_not_written() -> None:
    with pytest.raises(Refused, match=r"^node1: subnets is 203\.0\.113\.1/25: 203\.0\.113\.0/25 would be accepted"):
        built(form="flannel", subnets=["203.0.113.1/25"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "the configuration list is"),
        ({**listed({"type": "bridge"}), "name": 5}, "name is 5"),
        ({"plugins": [{"type": "bridge"}], "cniVersion": "0.3.1"}, "name is null"),
        ({**listed({"type": "bridge"}), "cniVersion": "0.2.0"}, 'cniVersion is "0.2.0": one of 0.3.0'),
        ({**listed({"type": "bridge"}), "cniVersion": 1.0}, "cniVersion is 1.0"),
        (listed(), r"plugins is \[\]"),
        ({**listed(), "plugins": {"type": "bridge"}}, "plugins is .*: a list"),
        (listed("bridge"), r"plugins\[0\] is \"bridge\": an object"),
        (listed({"type": "bridge"}, {}), r"plugins\[1\]\.type is null"),
        (listed({"type": "../../bin/reboot"}), r"plugins\[0\]\.type is \"../../bin/reboot\": the plain file name"),
        (listed({"type": "/bin/reboot"}), r"plugins\[0\]\.type"),
        (listed({"type": ".."}), r"plugins\[0\]\.type"),
        (listed({"type": "bridge", "ipam": {"type": "../reboot"}}), r"plugins\[0\]\.ipam\.type"),
        (listed({"type": "bridge", "ipam": []}), r"plugins\[0\]\.ipam is \[\]: an object"),
        (listed({"type": "flannel", "delegate": {"type": "a/b"}}), r"plugins\[0\]\.delegate\.type"),
        (listed({"type": "flannel", "delegate": {"ipam": {}}}), r"plugins\[0\]\.delegate\.ipam"),
        (
            listed({"type": "portmap", "capabilities": {"portMappings": "yes"}}),
            r"plugins\[0\]\.capabilities\.portMappings is \"yes\": true",
        ),
    ],
)
def test_a_list_that_a_runtime_would_choke_on_is_refused_by_field(content: Any, sentence: str) -> None:
    with pytest.raises(Refused, match=f"^node1: {sentence}"):
        checked(content, "node1")


def test_text_that_is_not_json_is_refused_with_the_place_of_the_fault() -> None:
    with pytest.raises(Refused, match=r"^10-x.conflist is not a CNI configuration, since it is not JSON: .* line 1 column 2"):
        parsed("{", "10-x.conflist")
