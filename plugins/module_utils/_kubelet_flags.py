# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of the kubelet, the flags that it had and has no more, and a text of flags without them. Pure.

A kubelet that finds a flag it does not know does not start. Sources, of facts and not of text: the flags of 1.20.2 (cmd/kubelet/app/
options and pkg/kubelet/config of its source) less those of the reference page of kubelet 1.34; when each went is told by the change that
removed it, of kubernetes/kubernetes unless named: 99236 (1.21), 101057 (1.22), 103172, 103941 and 104732 (1.23), 106907 and 106932
(1.24), 109388 (1.25), 112120 (1.26), 114017 and 116015 (1.27), Azure/karpenter-provider-azure 338 (1.30), 122082 and 122363 (1.31),
122384 (1.33), 130161 (1.34), 133779 (1.35), 139870 (1.37: cAdvisor's, which that page never listed). Two did nothing any more before they
went, and are dropped from there on: --redirect-container-streaming (1.20) and --non-masquerade-cidr, which only kubenet read (1.24).
"""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse

OLDEST, NEWEST = 20, 37
VERSION = re.compile(r"(?:Kubernetes )?v?1\.(\d+)(?:[.+-].*)?")

# The first minor version that does without -> the flags. Those after the bar take no value of their own.
GONE = {
    20: " | redirect-container-streaming",
    21: " | enable-cadvisor-json-endpoints",
    22: "chaos-chance | really-crash-for-testing",
    23: "seccomp-profile-root experimental-bootstrap-kubeconfig | experimental-check-node-capabilities-before-mount",
    24: """cni-bin-dir cni-cache-dir cni-conf-dir docker docker-endpoint docker-env-metadata-whitelist docker-root docker-tls-ca
        docker-tls-cert docker-tls-key dynamic-config-dir experimental-dockershim-root-directory image-pull-progress-deadline
        network-plugin network-plugin-mtu non-masquerade-cidr | docker-only docker-tls experimental-logging-sanitization""",
    25: " | experimental-kernel-memcg-notification",
    26: """log-backtrace-at log-dir log-file log-file-max-size stderrthreshold | add-dir-header alsologtostderr logtostderr one-output
        skip-headers skip-log-headers""",
    27: "container-runtime master-service-namespace | ",
    30: "azure-container-registry-config | ",
    31: "iptables-drop-bit iptables-masquerade-bit | keep-terminated-pod-volumes",
    33: " | register-schedulable",
    34: "cloud-config | ",
    35: "pod-infra-container-image | ",
    37: """application-metrics-count-limit boot-id-file container-hints containerd containerd-namespace event-storage-age-limit
        event-storage-event-limit global-housekeeping-interval machine-id-file storage-driver-buffer-duration storage-driver-db
        storage-driver-host storage-driver-password storage-driver-table storage-driver-user
        | enable-load-reader log-cadvisor-usage storage-driver-secure""",
}
# What such a flag is called since. Both names were known for a while, so the setting is kept.
RENAMED = {
    "experimental-bootstrap-kubeconfig": "bootstrap-kubeconfig",
    "experimental-kernel-memcg-notification": "kernel-memcg-notification",
}
SINCE = {name: minor for minor, names in GONE.items() for name in names.replace("|", " ").split()}
SWITCHES = {name for names in GONE.values() for name in names.partition("|")[2].split()}

BLANK = r"(?:[ \t]|\\\n)"  # a backslash at the end of a line goes on in the next, in units and in the files of their environment
VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'\\]*)"
END = r"(?=\Z|[\s\"'\\])"


def minor_version(who: str, text: Any) -> int:
    """The minor version of what a kubelet says (`Kubernetes v1.31.4`) or a person writes (1.31, v1.31.4)."""
    found = VERSION.fullmatch(str(text).strip())
    if not found or not OLDEST <= int(found[1]) <= NEWEST:
        raise refuse(
            who, "the kubelet's version", json.dumps(text), f"expected one from 1.{OLDEST} to 1.{NEWEST}, such as 1.{NEWEST} or v1.31.4"
        )
    return int(found[1])


def gone_since(name: str, minor: int) -> int | None:
    """The version that did away with the flag, if a kubelet of this minor version does without. `_` counts as `-`, as for a kubelet."""
    since = SINCE.get(name.replace("_", "-"))
    return since if since is not None and since <= minor else None


def without_dead_flags(text: str, minor: int) -> str:
    """The text of a unit, a drop-in or an environment file without the flags that a kubelet of this minor version does not start with."""
    dead = [name for name, since in SINCE.items() if since <= minor]
    for name in dead:
        text = _renamed(text, name, RENAMED[name]) if name in RENAMED else _without(text, name)
    return text


def _without(text: str, name: str) -> str:
    valued = rf"(?:={VALUE}|{BLANK}+(?!-){VALUE})" if name not in SWITCHES else rf"(?:={VALUE})?"
    flag = rf"--{_pattern(name)}{valued}{END}"
    return _substituted(rf"{BLANK}+{flag}|(?<![^\s\"'=]){flag}{BLANK}*", "", text)


def _renamed(text: str, name: str, other: str) -> str:
    return _substituted(rf"(?<![^\s\"'=])--{_pattern(name)}(?=[\s=\"'])", f"--{other}", text)


def _pattern(name: str) -> str:
    return name.replace("-", "[-_]")


def _substituted(pattern: str, replacement: str, text: str) -> str:
    """`re.sub`, but in comments, which are whole lines of units and environment files."""

    def in_comment(match: re.Match[str]) -> bool:
        start = match.start() + match[0].index("--")
        return text[text.rfind("\n", 0, start) + 1 : start].lstrip()[:1] in ("#", ";")

    return re.sub(pattern, lambda match: match[0] if in_comment(match) else replacement, text)
