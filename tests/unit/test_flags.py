# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags of kube-controller-manager in texts that others wrote: they get their values, and not another letter changes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flags import (
    cluster_configuration,
    controller_manager_flags,
    kube_flags,
    with_kube_flags,
)
from hypothesis import given, settings
from hypothesis import strategies as st

# As kubeadm writes it, and as a person goes on from there: comments, quotes, an order of one's own.
MANIFEST = """\
# Do not move: the backup script looks for this line.
apiVersion: v1
kind: Pod
metadata:
  annotations: {kubernetes.io/config.hash: "0123"}
  name: kube-controller-manager
  namespace: kube-system
spec:
  containers:
  - command:
    - kube-controller-manager
    - --allocate-node-cidrs=true  # until the ledger does it
    - "--cluster-cidr=10.244.0.0/16"
    - --bind-address=127.0.0.1
    # Asked for by the security team.
    - --profiling=false
    - --service-cluster-ip-range=10.96.0.0/12
    - --use-service-account-credentials=true
    image: registry.k8s.io/kube-controller-manager:v1.33.1
    name: kube-controller-manager
    resources:
      requests: {cpu: 200m}
  hostNetwork: true
status: {}
"""
# As kubeasz writes it.
UNIT = """\
[Unit]
Description=Kubernetes Controller Manager
Documentation=https://github.com/GoogleCloudPlatform/kubernetes

[Service]
ExecStart=/opt/kube/bin/kube-controller-manager \\
  --allocate-node-cidrs=true \\
  --authentication-kubeconfig=/etc/kubernetes/kube-controller-manager.kubeconfig \\
  --cluster-cidr=172.20.0.0/16 \\
  --leader-elect=true \\
  --node-cidr-mask-size=24 \\
  --service-cluster-ip-range=10.68.0.0/16 \\
  --v=2
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
SINGLE = controller_manager_flags("10.244.0.0/16", "10.96.0.0/12")
DUAL = controller_manager_flags(["172.20.0.0/16", "2001:db8:244::/48"], ["10.68.0.0/16", "2001:db8:68::/112"], [25, 64])


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def command_of(manifest: str) -> list[str]:
    container = yaml.safe_load(manifest)["spec"]["containers"][0]
    return [*container.get("command", []), *container.get("args", [])]


# --- what they are to be --------------------------------------------------------


def test_one_family_has_one_mask_and_two_families_have_one_each() -> None:
    assert SINGLE == {
        "allocate-node-cidrs": "false",
        "cluster-cidr": "10.244.0.0/16",
        "service-cluster-ip-range": "10.96.0.0/12",
        "node-cidr-mask-size": "24",
        "node-cidr-mask-size-ipv4": None,
        "node-cidr-mask-size-ipv6": None,
    }
    assert DUAL == {
        "allocate-node-cidrs": "false",
        "cluster-cidr": "172.20.0.0/16,2001:db8:244::/48",
        "service-cluster-ip-range": "10.68.0.0/16,2001:db8:68::/112",
        "node-cidr-mask-size": None,
        "node-cidr-mask-size-ipv4": "25",
        "node-cidr-mask-size-ipv6": "64",
    }
    assert controller_manager_flags("2001:db8:244::/48", "10.68.0.0/16", allocate=True)["node-cidr-mask-size"] == "64"


@pytest.mark.parametrize(
    ("ranges", "service", "sentence"),
    [
        (
            ["172.20.0.0/16", "172.22.0.0/16"],
            "10.68.0.0/16",
            "podnet_cluster_cidr is 172.20.0.0/16, 172.22.0.0/16: kube-controller-manager",
        ),
        ("172.20.0.0/16", [], "podnet_service_cidr is missing: give the range of all services"),
        ("172.20.0.0/16", "172.20.1.0/24", "overlaps"),
    ],
)
def test_ranges_that_it_would_not_take_are_refused(ranges: Any, service: Any, sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)):
        controller_manager_flags(ranges, service)


def test_kubeadm_gets_the_ranges_where_it_looks_for_them_and_the_rest_as_flags() -> None:
    settings = {
        "kubernetesVersion": "v1.33.1",
        "networking": {"dnsDomain": "cluster.example", "podSubnet": "10.0.0.0/8"},
        "controllerManager": {"extraArgs": [{"name": "v", "value": "2"}, {"name": "node-cidr-mask-size", "value": "26"}]},
    }
    assert cluster_configuration(SINGLE, settings, "kubeadm.k8s.io/v1beta4") == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": "v1.33.1",
        "networking": {"dnsDomain": "cluster.example", "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"},
        "controllerManager": {
            "extraArgs": [
                {"name": "v", "value": "2"},
                {"name": "allocate-node-cidrs", "value": "false"},
                {"name": "node-cidr-mask-size", "value": "24"},
            ]
        },
    }
    older = cluster_configuration(
        DUAL, {"controllerManager": {"extraArgs": {"node-cidr-mask-size": "26", "v": "2"}}}, "kubeadm.k8s.io/v1beta3"
    )
    assert older["controllerManager"]["extraArgs"] == {
        "v": "2",
        "allocate-node-cidrs": "false",
        "node-cidr-mask-size-ipv4": "25",
        "node-cidr-mask-size-ipv6": "64",
    }
    assert older["networking"]["podSubnet"] == "172.20.0.0/16,2001:db8:244::/48"


# --- a manifest -------------------------------------------------------------------


def test_a_manifest_keeps_its_comments_its_order_and_its_quotes() -> None:
    after = with_kube_flags(MANIFEST, {**SINGLE, "cluster-cidr": "172.20.0.0/16"})
    assert changed_lines(MANIFEST, after) == (
        ["    - --allocate-node-cidrs=true  # until the ledger does it", '    - "--cluster-cidr=10.244.0.0/16"'],
        [
            "    - --allocate-node-cidrs=false  # until the ledger does it",
            '    - "--cluster-cidr=172.20.0.0/16"',
            "    - --node-cidr-mask-size=24",
        ],
    )
    assert command_of(after)[-2:] == ["--use-service-account-credentials=true", "--node-cidr-mask-size=24"]


def test_what_is_as_it_is_to_be_stays_letter_by_letter() -> None:
    for text in (MANIFEST, UNIT):
        assert with_kube_flags(text, kube_flags(text, SINGLE)) == text
        after = with_kube_flags(text, DUAL)
        assert with_kube_flags(after, DUAL) == after


def test_the_flags_from_before_put_back_give_the_text_from_before() -> None:
    for text in (MANIFEST, UNIT):
        wanted = controller_manager_flags("172.30.0.0/16", "10.70.0.0/16", 26)
        assert with_kube_flags(with_kube_flags(text, wanted), kube_flags(text, wanted)) == text


def test_a_flag_that_goes_takes_its_line_and_leaves_the_comments_between() -> None:
    after = with_kube_flags(MANIFEST, {"profiling": None, "allocate-node-cidrs": None})
    assert changed_lines(MANIFEST, after)[0] == ["    - --allocate-node-cidrs=true  # until the ledger does it", "    - --profiling=false"]
    assert changed_lines(MANIFEST, after)[1] == []
    assert "    # Asked for by the security team.\n" in after


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (
            "command: [kube-controller-manager, --cluster-cidr=10.244.0.0/16, --v=2]",
            'command: [kube-controller-manager, "--cluster-cidr=172.20.0.0/16,2001:db8::/48", --v=2, "--node-cidr-mask-size-ipv4=24"]',
        ),
        (
            "command: ['kube-controller-manager', '--node-cidr-mask-size=24', '--cluster-cidr=10.244.0.0/16']",
            "command: ['kube-controller-manager', '--cluster-cidr=172.20.0.0/16,2001:db8::/48', \"--node-cidr-mask-size-ipv4=24\"]",
        ),
        (
            "command: [kube-controller-manager]\n    args:\n    - --cluster_cidr\n    - 10.0.0.0/8\n    - --node-cidr-mask-size-ipv4=26",
            "command: [kube-controller-manager]\n    args:\n    - --cluster_cidr\n    - {}\n    - --node-cidr-mask-size-ipv4=24",
        ),
    ],
)
def test_a_manifest_may_be_written_in_other_ways(command: str, after: str) -> None:
    manifest = "kind: Pod\nspec:\n  containers:\n  - name: kube-controller-manager\n    {}\n"
    flags = {"cluster-cidr": "172.20.0.0/16,2001:db8::/48", "node-cidr-mask-size": None, "node-cidr-mask-size-ipv4": "24"}
    after = after.replace("{}", "172.20.0.0/16,2001:db8::/48")
    assert with_kube_flags(manifest.replace("{}", command), flags) == manifest.replace("{}", after)


def test_a_manifest_may_be_json() -> None:
    manifest = json.dumps(yaml.safe_load(MANIFEST), indent=2)
    after = yaml.safe_load(with_kube_flags(manifest, DUAL))
    assert json.loads(with_kube_flags(manifest, DUAL)) == after
    assert kube_flags(json.dumps(after), DUAL) == DUAL


# --- a unit -------------------------------------------------------------------------


def test_a_unit_gets_its_flags_in_lines_of_their_own() -> None:
    after = with_kube_flags(UNIT, DUAL)
    assert changed_lines(UNIT, after) == (
        [
            "  --allocate-node-cidrs=true \\",
            "  --cluster-cidr=172.20.0.0/16 \\",
            "  --node-cidr-mask-size=24 \\",
            "  --service-cluster-ip-range=10.68.0.0/16 \\",
            "  --v=2",
        ],
        [
            "  --allocate-node-cidrs=false \\",
            "  --cluster-cidr=172.20.0.0/16,2001:db8:244::/48 \\",
            "  --service-cluster-ip-range=10.68.0.0/16,2001:db8:68::/112 \\",
            "  --v=2 \\",
            "  --node-cidr-mask-size-ipv4=25 \\",
            "  --node-cidr-mask-size-ipv6=64",
        ],
    )


@pytest.mark.parametrize(
    ("command", "after"),
    [
        ("/bin/kube-controller-manager --v=2", "/bin/kube-controller-manager --v=2 --cluster-cidr=172.20.0.0/16"),
        (
            "-/bin/kube-controller-manager --cluster-cidr 10.0.0.0/8 --v 2",
            "-/bin/kube-controller-manager --cluster-cidr 172.20.0.0/16 --v 2",
        ),
        ("/bin/kube-controller-manager '--cluster-cidr=10.0.0.0/8'", "/bin/kube-controller-manager '--cluster-cidr=172.20.0.0/16'"),
        ('/bin/kube-controller-manager --cluster-cidr="10.0.0.0/8"', '/bin/kube-controller-manager --cluster-cidr="172.20.0.0/16"'),
        (
            "/bin/kube-controller-manager \\\n# a comment in between\n  --cluster-cidr=10.0.0.0/8 \\\n  $MORE",
            "/bin/kube-controller-manager \\\n# a comment in between\n  --cluster-cidr=172.20.0.0/16 \\\n  $MORE",
        ),
        (
            "/bin/kube-controller-manager --cluster-cidr=10.0.0.0/8 --cluster-cidr=10.1.0.0/16",
            "/bin/kube-controller-manager --cluster-cidr=172.20.0.0/16 --cluster-cidr=172.20.0.0/16",
        ),
        (
            "/bin/kube-controller-manager --node-cidr-mask-size 24 --v=2",
            "/bin/kube-controller-manager --v=2 --cluster-cidr=172.20.0.0/16",
        ),
    ],
)
def test_a_unit_may_be_written_in_other_ways(command: str, after: str) -> None:
    unit = "[Service]\nExecStart={}\nRestart=always\n"
    flags = {"cluster-cidr": "172.20.0.0/16", "node-cidr-mask-size": None}
    assert with_kube_flags(unit.replace("{}", command), flags) == unit.replace("{}", after)


def test_a_switch_without_a_value_is_on_and_takes_no_word_that_follows() -> None:
    unit = "[Service]\nExecStart=/bin/kube-controller-manager --allocate-node-cidrs $MORE --v=2\n"
    assert kube_flags(unit, ["allocate-node-cidrs", "v", "profiling"]) == {"allocate-node-cidrs": "true", "v": "2", "profiling": None}
    assert "--allocate-node-cidrs=false $MORE --v=2" in with_kube_flags(unit, {"allocate-node-cidrs": "false"})


# --- a unit whose flags are in an environment file ------------------------------------

VARIABLES = """\
[Service]
EnvironmentFile=-/etc/kubernetes/config
EnvironmentFile=-/etc/kubernetes/controller-manager
ExecStart=/usr/bin/kube-controller-manager $KUBE_LOGS ${UNKNOWN} --service-cluster-ip-range=10.0.0.0/16 $KUBE_ARGS
Restart=always
"""
LOGS = "# --cluster-cidr=10.9.0.0/16 was tried\nKUBE_LOGS=--node-cidr-mask-size=24 --v=2\n"
ARGUMENTS = """\
KUBE_ARGS="--allocate-node-cidrs=true \\
--cluster-cidr 10.244.0.0/16 \\
--leader-elect=true"
OTHERS='--cluster-cidr=10.8.0.0/16'
"""


def test_a_flag_changes_in_the_file_that_sets_it_and_a_new_one_comes_last() -> None:
    unit, logs, arguments = with_kube_flags([VARIABLES, LOGS, ARGUMENTS], DUAL)
    assert unit == VARIABLES.replace("10.0.0.0/16", "10.68.0.0/16,2001:db8:68::/112")
    assert logs == LOGS.replace("--node-cidr-mask-size=24 ", " ")
    assert arguments == ARGUMENTS.replace("cidrs=true", "cidrs=false").replace("10.244.0.0/16", DUAL["cluster-cidr"] or "").replace(
        'leader-elect=true"', 'leader-elect=true --node-cidr-mask-size-ipv4=25 --node-cidr-mask-size-ipv6=64"'
    )
    assert with_kube_flags([unit, logs, arguments], DUAL) == [unit, logs, arguments]
    assert kube_flags([unit, logs, arguments], DUAL) == DUAL
    assert kube_flags([VARIABLES, LOGS, ARGUMENTS], ["v", "cluster-cidr"]) == {"v": "2", "cluster-cidr": "10.244.0.0/16"}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("A=--cluster-cidr=10.0.0.0/8", "A=--cluster-cidr=172.20.0.0/16"),
        ("A=", "A="),
        ("B=--cluster-cidr=10.0.0.0/8\n", "B=--cluster-cidr=10.0.0.0/8\n"),
        ("A='--v=2 --cluster_cidr=10.0.0.0/8'\nC=1", "A='--v=2 --cluster_cidr=172.20.0.0/16'\nC=1"),
        ('A="--node-cidr-mask-size 24 \\\n  --v=2"', 'A=" \\\n  --v=2 \\\n  --cluster-cidr=172.20.0.0/16"'),
    ],
)
def test_an_environment_file_may_be_written_in_other_ways(text: str, after: str) -> None:
    unit = "[Service]\nExecStart=/bin/kube-controller-manager $A\n"
    flags = {"cluster-cidr": "172.20.0.0/16", "node-cidr-mask-size": None}
    told = with_kube_flags([unit, text], flags)
    assert told[1] == after
    assert kube_flags(told, ["cluster-cidr"]) == {"cluster-cidr": "172.20.0.0/16"}


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Pod\nspec: {containers: []}\n", "the manifest has 0 containers of this name: expected one."),
        ("kind: [Pod\n", "the manifest is not YAML: "),
        (MANIFEST.replace("- kube-controller-manager\n", "- sh\n"), "the command line begins with 'sh --allocate-node-cidrs=true'"),
        ("[Service]\nType=simple\n", "the unit has 0 commands in ExecStart=: expected one."),
        (UNIT.replace("kube-controller-manager \\", "kube-scheduler \\"), "expected that it runs kube-controller-manager."),
        (MANIFEST.replace("10.244.0.0/16", "10.244.0.0\\/16"), "--cluster-cidr, --service-cluster-ip-range, --node-cidr-mask-size"),
        (UNIT.replace("  --node-cidr", "# why\n  --node-cidr"), "--node-cidr-mask-size=24 cannot be taken out, since a comment"),
    ],
)
def test_what_cannot_be_read_is_refused_and_says_why(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)):
        with_kube_flags(text, DUAL)


# --- whatever the text -----------------------------------------------------------------

NAMES = ("cluster-cidr", "node-cidr-mask-size", "v", "profiling", "leader-elect", "service-cluster-ip-range")
VALUES = st.sampled_from(["10.0.0.0/8", "172.20.0.0/16,2001:db8::/48", "24", "true"])
COMMANDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6)
WANTED = st.dictionaries(st.sampled_from(NAMES), st.none() | VALUES, max_size=4)


def spelt(flags: Sequence[tuple[str, str]], style: str) -> str:
    words = ["kube-controller-manager", *(f"--{name}={value}" for name, value in flags)]
    if style == "flow":
        return f"spec:\n  containers:\n  - name: kube-controller-manager\n    command: {json.dumps(words)}\n  hostNetwork: true\n"
    if style == "block":
        lines = "".join(f"    - {json.dumps(word) if index % 2 else word}\n" for index, word in enumerate(words))
        return f"spec:\n  containers:\n  - command:\n{lines}    name: kube-controller-manager\n  hostNetwork: true\n"
    return "[Service]\nExecStart=" + " \\\n    ".join(words) + "\nRestart=always\n"


@settings(deadline=None)
@given(COMMANDS, WANTED, st.sampled_from(["block", "flow", "unit"]))
def test_whatever_the_text_the_flags_are_as_wanted_and_the_others_as_they_were(
    flags: list[tuple[str, str]], wanted: dict[str, str | None], style: str
) -> None:
    before = spelt(flags, style)
    after = with_kube_flags(before, wanted)
    assert kube_flags(after, NAMES) == {**kube_flags(before, NAMES), **wanted}
    assert with_kube_flags(after, wanted) == after
    kept = [(name, value) for name, value in flags if name not in wanted]
    others: dict[str, str | None] = dict.fromkeys(wanted)
    assert kube_flags(with_kube_flags(after, others), NAMES) == kube_flags(spelt(kept, style), NAMES)
    assert after.endswith(before.splitlines()[-1] + "\n")


@settings(deadline=None)
@given(st.tuples(COMMANDS, COMMANDS, COMMANDS), WANTED, st.sampled_from([" ", " \\\n", " \\\n  "]), st.sampled_from("\"'"))
def test_wherever_a_unit_has_its_flags_they_are_as_wanted_and_the_others_as_they_were(
    parts: tuple[Sequence[tuple[str, str]], ...], wanted: dict[str, str | None], gap: str, quote: str
) -> None:
    def texts(parts: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
        first, inside, last = (gap.join(f"--{name}={value}" for name, value in part) for part in parts)
        unit = gap.join(filter(None, ["/bin/kube-controller-manager", first, "$A", last]))
        return [f"[Service]\nExecStart={unit}\nRestart=always\n", f"B=1\nA={quote}{inside}{quote}\nC=--v=9\n"]

    before = texts(parts)
    after = with_kube_flags(before, wanted)
    assert kube_flags(after, NAMES) == {**kube_flags(before, NAMES), **wanted}
    assert with_kube_flags(after, wanted) == after
    kept = [[(name, value) for name, value in part if name not in wanted] for part in parts]
    others: dict[str, str | None] = dict.fromkeys(wanted)
    assert kube_flags(with_kube_flags(after, others), NAMES) == kube_flags(texts(kept), NAMES)
    assert after[0].endswith("\nRestart=always\n")
    assert after[1].startswith(f"B=1\nA={quote}")
    assert after[1].endswith(f"{quote}\nC=--v=9\n")
