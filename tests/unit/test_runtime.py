# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the configurations of containerd and CRI-O have them look for CNI. No I/O."""

from __future__ import annotations

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime import (
    CONTAINERD,
    CRIO,
    File,
    Runtime,
    drop_in,
    imports,
    looked_up,
    serves_pods,
    with_import,
    without_import,
)

PATH = CONTAINERD.drop_in
VERSION_1 = '[plugins.cri]\n  [plugins.cri.cni]\n    bin_dir = "/opt/a" # "/opt/no"\n    conf_dir = "/etc/a"\n'
VERSION_2 = (
    'version = 2\n[plugins]\n  [plugins."io.containerd.grpc.v1.cri".cni]\n'
    '    conf_dir = "/etc/a"\n    # conf_dir = "/etc/no"\n    bin_dir = "/opt/a"\n'
)
VERSION_3 = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dir = '/opt/a'\n  conf_dir = '/etc/a'\n"
SEVERAL = (
    "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n"
    "  bin_dirs = [\n    '/opt/a', # not '/opt/no'\n    '/opt/b',\n  ]\n  conf_dir = '/etc/a'\n"
)
OTHER_TABLES = (
    "version = 3\n[plugins.'io.containerd.image-verifier.v1.bindir']\n  bin_dir = '/opt/no'\n"
    "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n  cni_conf_dir = '/etc/no'\n"
    "[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dir = ''\n"
)
CRIO_FILE = '[crio.network]\n# network_dir = "/etc/no"\nnetwork_dir = "/etc/a/"\nplugin_dirs = [\n\t"/opt/a/",\n]\n'


@pytest.mark.parametrize(
    ("runtime", "texts", "conf", "plugins"),
    [
        (CONTAINERD, [VERSION_1], ("/etc/a",), ("/opt/a",)),
        (CONTAINERD, [VERSION_2], ("/etc/a",), ("/opt/a",)),
        (CONTAINERD, [VERSION_3], ("/etc/a",), ("/opt/a",)),
        (CONTAINERD, [SEVERAL], ("/etc/a",), ("/opt/a", "/opt/b")),
        (CONTAINERD, [SEVERAL, SEVERAL.replace("/opt/b", "/opt/c")], ("/etc/a",), ("/opt/a", "/opt/b", "/opt/a", "/opt/c")),
        (CONTAINERD, [VERSION_2, VERSION_2.replace("/opt/a", "/opt/b")], ("/etc/a",), ("/opt/b",)),
        (CONTAINERD, [OTHER_TABLES], ("/etc/cni/net.d",), ("/opt/cni/bin",)),
        (CONTAINERD, [], ("/etc/cni/net.d",), ("/opt/cni/bin",)),
        (CRIO, [CRIO_FILE], ("/etc/a/",), ("/opt/a/",)),
        (CRIO, [CRIO_FILE, '[crio.network]\nplugin_dirs = ["/opt/b"]\n'], ("/etc/a/",), ("/opt/b",)),
        (CRIO, ['[crio.runtime]\nnetwork_dir = "/etc/no"\n'], ("/etc/cni/net.d",), ("/opt/cni/bin",)),
    ],
)
def test_a_runtime_looks_where_its_configuration_says(
    runtime: Runtime, texts: list[str], conf: tuple[str, ...], plugins: tuple[str, ...]
) -> None:
    found = looked_up(runtime, [File(f"/etc/{number}", text) for number, text in enumerate(texts)])
    assert tuple(setting.values for setting in found) == (conf, plugins)


def test_what_says_so_is_named() -> None:
    conf, plugins = looked_up(CONTAINERD, [File("/etc/one", VERSION_2), File("/etc/two", SEVERAL)])
    assert (conf.source, plugins.source) == ("conf_dir in /etc/two", "bin_dirs in /etc/two")
    assert looked_up(CRIO, [])[0].source == "the default of crio"


@pytest.mark.parametrize("plugin", ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"])
def test_a_containerd_without_cri_serves_no_pods(plugin: str) -> None:
    assert not serves_pods([File("/etc/one", f'disabled_plugins = ["restart", "{plugin}"]\n{VERSION_2}')])
    assert serves_pods([File("/etc/one", f'{VERSION_2}disabled_plugins = ["{plugin}"]\n')])  # of a table, and so not containerd's own


def test_other_files_are_imported_by_patterns_beside_the_file_that_names_them() -> None:
    main = File("/etc/containerd/config.toml", 'imports = [\n  "conf.d/*.toml",\n  "/etc/own.toml"\n]\n')
    assert imports(main) == ["/etc/containerd/conf.d/*.toml", "/etc/own.toml"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version = 2\n", f'imports = ["{PATH}"]  # podnet.baremetal.cni\nversion = 2\n'),
        ("version = 2\nimports = []\n[a]\nb = []\n", f'version = 2\nimports = ["{PATH}"]\n[a]\nb = []\n'),
        ("imports = ['/etc/own.toml'] # mine\n", f"imports = ['/etc/own.toml', \"{PATH}\"] # mine\n"),
        ("imports = [\n  '/etc/own.toml',\n]\n", f"imports = [\n  '/etc/own.toml',\n\"{PATH}\"]\n"),
        ("[a]\nimports = ['/etc/own.toml']\n", f"imports = [\"{PATH}\"]  # podnet.baremetal.cni\n[a]\nimports = ['/etc/own.toml']\n"),
        ("imports = ['/etc/containerd/conf.d/*.toml']\n", "imports = ['/etc/containerd/conf.d/*.toml']\n"),
        ("imports = ['conf.d/*.toml']\n", f"imports = ['conf.d/*.toml', \"{PATH}\"]\n"),  # relative to what is not known
    ],
)
def test_an_import_is_added_once_and_taken_away_again(before: str, after: str) -> None:
    main = File("/etc/containerd/config.toml", before)
    assert with_import(main, PATH) == after
    assert with_import(File(main.path, after), PATH) == after
    assert without_import(File(main.path, after), PATH) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 3\n", ["version = 3", '[plugins."io.containerd.cri.v1.runtime".cni]', 'conf_dir = "/etc/x"', 'bin_dirs = ["/opt/x"]']),
        (VERSION_3, ["version = 3", '[plugins."io.containerd.cri.v1.runtime".cni]', 'conf_dir = "/etc/x"', 'bin_dir = "/opt/x"']),
        (SEVERAL, ["version = 3", '[plugins."io.containerd.cri.v1.runtime".cni]', 'conf_dir = "/etc/x"', 'bin_dirs = ["/opt/x"]']),
        ("version = 2\n", ["version = 2", '[plugins."io.containerd.grpc.v1.cri".cni]', 'conf_dir = "/etc/x"', 'bin_dir = "/opt/x"']),
        ("", ["version = 1", '[plugins."cri".cni]', 'conf_dir = "/etc/x"', 'bin_dir = "/opt/x"']),
    ],
)
def test_a_drop_in_is_of_the_version_of_the_main_file_and_has_the_key_that_this_version_reads(text: str, said: list[str]) -> None:
    assert drop_in(CONTAINERD, [File("/etc/one", text)], "/etc/x", "/opt/x").splitlines()[1:] == said


def test_before_version_3_a_drop_in_repeats_the_last_section_of_the_plugin() -> None:
    registry = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/certs"\n[debug]\nlevel = "info"\n'
    files = [File("/etc/one", VERSION_2), File("/etc/two", registry), File("/etc/three", '[debug]\nlevel = "warn"\n')]
    assert drop_in(CONTAINERD, files, "/etc/x", "/opt/x").splitlines()[2:] == [
        '[plugins."io.containerd.grpc.v1.cri".registry]',
        'config_path = "/etc/certs"',
        '[plugins."io.containerd.grpc.v1.cri".cni]',
        'conf_dir = "/etc/x"',
        'bin_dir = "/opt/x"',
    ]


def test_a_drop_in_of_cri_o_says_both() -> None:
    text = drop_in(CRIO, [], "/etc/x", "/opt/x")
    assert tuple(setting.values for setting in looked_up(CRIO, [File("/etc/one", CRIO_FILE), File("/etc/two", text)])) == (
        ("/etc/x",),
        ("/opt/x",),
    )
