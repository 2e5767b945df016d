# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet of each version is given, and what it is not. I/O: reads the lists of tests/golden/kubelet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._kubelet import (
    FIELDS,
    KINDS,
    TYPE,
    cgroup_driver,
    kubelet_arguments,
    kubelet_configuration,
    pod_limit,
    service_addresses,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._kubelet_flags import NEWEST, OLDEST, RENAMED, SINCE, without_dead_flags
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "kubelet"
MINORS = range(OLDEST, NEWEST + 1)
# Something that each kind of field takes, and something that it does not.
SAMPLES: dict[str, tuple[Any, Any]] = {
    "bool": (True, 1),
    "int": (110, 1.5),
    "number": (0.9, "much"),
    "text": ("/etc/resolv.conf", 7),
    "duration": ("4h0m0s", "4 hours"),
    "quantity": ("10Mi", 1.5),
    "texts": (["10.68.0.10"], "10.68.0.10"),
    "ints": ([29, 4588], ["X25519"]),
    "map of text": ({"memory": "1Gi"}, {"memory": 1}),
    "map of bool": ({"MemoryQoS": True}, {"MemoryQoS": "yes"}),
    "map of texts": ({"X-Header": ["one"]}, {"X-Header": "one"}),
    "map of quantity": ({"memory": "1Gi"}, {"memory": True}),
}


def golden(name: str) -> set[str]:
    return set((GOLDEN / name).read_text().split())


def setting(path: str, value: Any) -> dict[str, Any]:
    """A document with this one field, such as `a[].b` -> {a: [{b: value}]}."""
    name, _dot, below = path.partition(".")
    inner = setting(below, value) if below else value
    return {name[:-2]: [inner]} if name.endswith("[]") else {name: inner}


def test_the_fields_are_those_that_were_published() -> None:
    assert {path for path, field in FIELDS.items() if field.first == OLDEST} == golden("fields-1.20.txt")
    for minor in (23, 31, 35, 36):
        known = {re.split(r"\W", path)[0] for path, field in FIELDS.items() if field.first <= minor <= field.last}
        assert known == golden(f"fields-1.{minor}.txt")


def test_a_flag_is_gone_if_it_was_there_once_and_is_not_any_more() -> None:
    gone = golden("flags-1.20.txt") - golden("flags-1.34.txt") - {"housekeeping-interval"}  # there still, and not on that page
    hidden = {"experimental-dockershim-root-directory"}  # --help does not list it
    assert {name for name, minor in SINCE.items() if minor != 35} == gone | hidden
    assert set(RENAMED.values()) <= golden("flags-1.20.txt") & golden("flags-1.34.txt")


@pytest.mark.parametrize("minor", MINORS)
def test_every_version_takes_each_field_that_it_knows_and_is_refused_each_other(minor: int) -> None:
    for path, field in FIELDS.items():
        value = SAMPLES[field.kind][0]
        document = setting(path, value)
        if field.first <= minor <= field.last:
            assert kubelet_configuration(document, f"1.{minor}") == {**TYPE, **document}
        else:
            with pytest.raises(Refused, match=rf"{re.escape(path)} is .* a kubelet 1.{minor} does not know the field"):
                kubelet_configuration(document, f"1.{minor}")
        assert (
            path.split(".")[0] in kubelet_configuration({}, f"1.{minor}", document)
            or "[]" in path
            or not field.first <= minor <= field.last
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_would_keep_the_kubelet_from_starting_is_refused_by_its_field(kind: str) -> None:
    path = next(path for path, field in FIELDS.items() if field.kind == kind)
    with pytest.raises(Refused, match=rf"node1: kubelet_settings\.{re.escape(path)} is .*: expected {re.escape(KINDS[kind].words)}\.$"):
        kubelet_configuration(setting(path, SAMPLES[kind][1]), f"1.{FIELDS[path].first}", who="node1")


@pytest.mark.parametrize(
    ("settings", "version", "sentence"),
    [
        ({"logging": {"flushFrequency": "5s"}}, "1.23", r"node1: kubelet_settings.logging.flushFrequency is .5s.: expected a whole number"),
        ({"maxPod": 5}, "1.31", "node1: kubelet_settings.maxPod is 5: a KubeletConfiguration has no such field, .* maxPods is one."),
        (
            {"authentication": {"x509": {"clientCAfile": "/ca"}}},
            "1.31",
            "authentication.x509.clientCAfile .* authentication.x509.clientCAFile is",
        ),
        ({"authentication": True}, "1.31", "node1: authentication is true: expected fields of a KubeletConfiguration."),
        ({"tlsMinVersion": {"a": 1}}, "1.31", 'tlsMinVersion is {"a": 1}: expected a text.'),
        ({"seccompDefault": True}, "1.21.14", "kubelet_settings.seccompDefault is true: .* 1.21 does not know .*; 1.22 and newer do."),
        ({"logging": {"sanitization": True}}, "1.24", "logging.sanitization is true: .*; 1.20 to 1.23 do."),
        ({"registerWithTaints": [{"key": "a", "effekt": "NoSchedule"}]}, "1.31", r"registerWithTaints\[\].effekt is .NoSchedule.: "),
        ({}, "1.19", 'node1: the kubelet.s version is "1.19": expected one from 1.20 to 1.37, such as'),
        ({}, "", 'node1: the kubelet.s version is "": expected one'),
    ],
)
def test_what_a_kubelet_would_silently_go_without_is_refused(settings: dict[str, Any], version: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        kubelet_configuration(settings, version, who="node1")


def test_settings_come_over_defaults_and_none_leaves_a_field_out() -> None:
    defaults = {
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": "/ca.crt"}},
        "maxPods": 110,
        "seccompDefault": True,
    }
    settings = {
        "authentication": {"x509": {"clientCAFile": "/other.crt"}},
        "maxPods": None,
        "serializeImagePulls": "False",
        "port": "10250",
    }
    assert kubelet_configuration(settings, "Kubernetes v1.21.0", defaults) == {
        **TYPE,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": "/other.crt"}},
        "port": 10250,
        "serializeImagePulls": False,
    }


def test_defaults_that_templates_made_texts_are_numbers_again_and_empty_ones_are_none() -> None:
    made = kubelet_configuration(
        {}, "1.31", {"maxPods": "110", "readOnlyPort": 0, "seccompDefault": "True", "podCIDR": "", "clusterDNS": []}
    )
    assert made == {**TYPE, "maxPods": 110, "readOnlyPort": 0, "seccompDefault": True, "clusterDNS": []}


def test_flags_are_a_command_line_of_this_version() -> None:
    defaults = {"config": "/c.yaml", "network-plugin": "cni", "kubeconfig": "", "v": 2}
    flags = {"node-ip": "192.0.2.11", "node-labels": {"zone": "a", "rack": "b"}, "v": None, "fail-swap-on": False}
    expected = ["--config=/c.yaml", "--fail-swap-on=false", "--node-ip=192.0.2.11", "--node-labels=zone=a,rack=b"]
    assert kubelet_arguments(flags, "1.24", defaults) == expected
    assert kubelet_arguments(flags, "1.23", defaults) == [*expected[:2], "--network-plugin=cni", *expected[2:]]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"network-plugin": "cni"},
            "node1: kubelet_flags.network-plugin is .cni.: a kubelet 1.27 does not start with it, which is gone since 1.24.",
        ),
        ({"container_runtime": "remote"}, "the name of a flag is .container_runtime.: expected small letters"),
        ({"--v": 2}, "the name of a flag is .--v.: expected small letters, digits and '-', without the leading dashes."),
        ({"node-labels": "a=b c"}, "kubelet_flags.node-labels is .a=b c.: expected a value without spaces, quotes and backslashes."),
    ],
)
def test_a_flag_that_would_keep_the_kubelet_from_starting_is_refused(flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        kubelet_arguments(flags, "1.27", who="node1")


def test_a_node_runs_as_many_pods_as_its_subnet_has_addresses_for() -> None:
    assert [pod_limit(subnets) for subnets in ([], "172.20.1.0/24", "172.20.1.0/26", ["172.20.1.0/25", "2001:db8:1::/64"])] == [
        110,
        110,
        61,
        110,
    ]
    assert pod_limit("172.20.1.0/24", "253") == 253
    with pytest.raises(Refused, match=r"node1: kubelet_max_pods is 254: the pod subnet 172.20.1.0/24 has addresses for 253\."):
        pod_limit("172.20.1.0/24", 254, who="node1")
    with pytest.raises(Refused, match=r"node1: kubelet_pod_cidr is .172.20.1.5/24.: expected a network such as"):
        pod_limit("172.20.1.5/24", who="node1")


def test_the_clusters_dns_is_the_tenth_address_of_each_service_range() -> None:
    assert service_addresses(["10.68.0.0/16", "2001:db8:68::/112"]) == ["10.68.0.10", "2001:db8:68::a"]
    assert service_addresses("10.68.0.0/16", 2) == ["10.68.0.2"]
    with pytest.raises(Refused, match=r"kubelet_service_cidr is 10.68.0.0/29: it has no address number 10: give kubelet_cluster_dns"):
        service_addresses("10.68.0.0/29")


CONTAINERD = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n  SystemdCgroup = true\n'


@pytest.mark.parametrize(
    ("runtime", "text", "driver"),
    [
        ("containerd", CONTAINERD, "systemd"),
        ("containerd", CONTAINERD.replace("true", "false"), "cgroupfs"),
        ("containerd", CONTAINERD.replace("  Sys", "  # Sys"), "cgroupfs"),
        ("containerd", CONTAINERD + CONTAINERD, "systemd"),
        ("containerd", "", "cgroupfs"),
        ("containerd", None, "cgroupfs"),
        ("containerd", 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + CONTAINERD, "systemd"),
        ("crio", '[crio.runtime]\ncgroup_manager = "cgroupfs"\n', "cgroupfs"),
        ("crio", "", "systemd"),
        ("docker", '{"exec-opts": ["native.cgroupdriver=systemd"]}', "systemd"),
    ],
)
def test_the_cgroup_driver_is_the_runtimes(runtime: str, text: str | None, driver: str) -> None:
    assert cgroup_driver(text, runtime) == driver


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ("docker", "{}"),
        ("containerd", 'imports = ["/etc/containerd/conf.d/*.toml"]\n'),
        ("containerd", CONTAINERD + CONTAINERD.replace("true", "false")),
    ],
)
def test_a_cgroup_driver_that_cannot_be_known_is_asked_for(runtime: str, text: str) -> None:
    with pytest.raises(Refused, match=r"node1: the cgroup driver is unknown: .*: give kubelet_cgroup_driver."):
        cgroup_driver(text, runtime, who="node1")


UNIT = r"""[Service]
# --network-plugin was here once
ExecStart=/opt/kube/bin/kubelet \
  --config=/var/lib/kubelet/config.yaml \
  --network-plugin=cni \
  --cni-bin-dir /opt/kube/bin \
  --hostname-override=node1 \
  --cni-conf-dir=/etc/cni/net.d

[Install]
WantedBy=multi-user.target
"""
TAKEN_OUT = [
    ('KUBELET_KUBEADM_ARGS="--network-plugin=cni --node-ip=192.0.2.11"', 'KUBELET_KUBEADM_ARGS="--node-ip=192.0.2.11"'),
    ('KUBELET_KUBEADM_ARGS="--node-ip=192.0.2.11 --network-plugin=cni"', 'KUBELET_KUBEADM_ARGS="--node-ip=192.0.2.11"'),
    ("KUBELET_EXTRA_ARGS=--network-plugin=cni", "KUBELET_EXTRA_ARGS="),
    ("A=--cni-bin-dir /opt/cni/bin --v=2", "A=--v=2"),
    ("A=--cni_bin_dir=/opt/cni/bin --v=2", "A=--v=2"),
    ("kubelet --docker=unix:///d --docker-tls --v=2", "kubelet --v=2"),
    ("kubelet --docker-tls --v=2", "kubelet --v=2"),
    ("kubelet --docker-tls=false --v=2", "kubelet --v=2"),
    ('kubelet --cni-bin-dir="/opt/my cni" --v=2', "kubelet --v=2"),
    ("kubelet --cni-bin-dir \\\n  /opt/cni/bin \\\n  --v=2", "kubelet \\\n  --v=2"),
    ("kubelet --network-plugins=x --my-network-plugin=y", "kubelet --network-plugins=x --my-network-plugin=y"),
    ("kubelet --container-runtime=remote", "kubelet --container-runtime=remote"),
    ("kubelet --containerd=/run/c.sock --log-cadvisor-usage", "kubelet --containerd=/run/c.sock --log-cadvisor-usage"),
    ("kubelet --experimental-bootstrap-kubeconfig=/b", "kubelet --bootstrap-kubeconfig=/b"),
    ("; --network-plugin=cni", "; --network-plugin=cni"),
]


def test_a_unit_keeps_all_but_the_flags_that_its_kubelet_does_not_start_with() -> None:
    dead = ("--network-plugin=cni", "--cni-")
    kept = [line for line in UNIT.splitlines() if not any(f"  {flag}" in line for flag in dead)]
    assert without_dead_flags(UNIT, 24) == "\n".join(kept).replace("override=node1 \\", "override=node1") + "\n"
    assert without_dead_flags(UNIT, 23) == UNIT


@pytest.mark.parametrize(("text", "left"), TAKEN_OUT)
def test_a_flag_goes_with_its_value_and_nothing_else(text: str, left: str) -> None:
    assert without_dead_flags(text, 24) == left
    assert without_dead_flags(f"{text}\n", 24) == f"{left}\n"


def test_a_kubelet_that_has_left_cadvisors_flags_behind_loses_them_and_keeps_the_one_that_stayed() -> None:
    flags = "--containerd=/run/c.sock --log-cadvisor-usage --containerd-namespace k8s.io --housekeeping-interval=10s"
    assert without_dead_flags(f"kubelet {flags} --v=2", 37) == "kubelet --housekeeping-interval=10s --v=2"


ALIVE = ["--v=2", "--node-ip=192.0.2.11", "--config", "/c.yaml", '--node-labels="a=b"']
DEAD = [f"--{name}=x" for name in SINCE if name not in RENAMED]


@given(
    st.lists(st.sampled_from(ALIVE)),
    st.lists(st.sampled_from(DEAD)),
    st.sampled_from(MINORS),
    st.sampled_from([" ", " \\\n  "]),
    st.randoms(),
)
def test_no_other_flag_is_touched_and_nothing_is_left_to_do(alive: list[str], dead: list[str], minor: int, blank: str, random: Any) -> None:
    words = list(alive)
    for flag in dead:
        places = [place for place in range(len(words) + 1) if place == 0 or words[place - 1] != "--config"]
        words.insert(random.choice(places), flag)
    left = without_dead_flags(blank.join(["ExecStart=/usr/bin/kubelet", *words]), minor)
    kept = [word for word in words if not word.startswith("--") or SINCE.get(word[2:].partition("=")[0], NEWEST + 1) > minor]
    assert left.replace(" \\\n  ", " ").split() == ["ExecStart=/usr/bin/kubelet", *kept]
    assert without_dead_flags(left, minor) == left
