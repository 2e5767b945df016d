# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of runtimes in a directory of the test's own. I/O: Debian's containerd, which says what it reads in them."""

from __future__ import annotations

import subprocess
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime import CONTAINERD, CRIO, Runtime
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime_files import RuntimeFiles, refuse_elsewhere, runtime_target

PROGRAM = Path(__file__).resolve().parents[2] / "build" / "containerd" / "usr" / "bin" / "containerd"
DIRECTORIES = ("/etc/own/net.d", "/opt/own/bin")
DEBIAN = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
KUBESPRAY = """version = 2
root = "/var/lib/containerd"
imports = []
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.example/pause:3.9"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = true
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
      endpoint = ["https://mirror.example", "https://other.example"]
"""
WITH_DROP_INS = KUBESPRAY.replace("[]", '["{directory}/conf.d/*.toml"]')
VERSION_1 = '[debug]\n  level = "warn"\n[plugins.cri]\n  sandbox_image = "registry.example/pause:3.9"\n'


class Place:
    """A directory that stands for /etc, with the runtime's files in it."""

    def __init__(self, runtime: Runtime, directory: Path) -> None:
        main, ours = (f"{directory}{path}" for path in (runtime.main, runtime.drop_in))
        self.runtime = runtime._replace(main=main, drop_in=ours)
        self.directory = directory

    def write(self, name: str, text: str) -> str:
        path = Path(self.runtime.main).parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{directory}", str(path.parents[len(Path(name).parts) - 1])))
        path.chmod(0o640)
        return str(path)

    def told(self, directories: tuple[str, str] | None = DIRECTORIES, *, check: bool = False) -> dict[str, Any]:
        return answer(lambda: RuntimeFiles("node1", self.runtime, directories), check=check, diff=True)

    def read(self) -> list[str]:
        """What containerd makes of its files."""
        asked = [str(PROGRAM), "--config", self.runtime.main, "config", "dump"]
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
        return [" ".join(line.split()) for line in done.stdout.splitlines() if not line.startswith("imports = ")]

    def tree(self) -> list[tuple[str, int, str]]:
        files = (path for path in self.directory.rglob("*") if path.is_file())
        return sorted((str(path), path.stat().st_mode & 0o777, path.read_text()) for path in files)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(CONTAINERD, tmp_path)


@pytest.mark.parametrize(
    ("main", "others"),
    [
        (DEBIAN, {}),
        (KUBESPRAY, {}),
        (WITH_DROP_INS, {"conf.d/10-debug.toml": 'version = 2\n[debug]\nlevel = "warn"\n'}),
        (VERSION_1, {}),
    ],
)
def test_containerd_reads_the_directories_and_everything_else_as_before(place: Place, main: str, others: dict[str, str]) -> None:
    for name, text in {"config.toml": main, **others}.items():
        place.write(name, text)
    before, files = place.read(), place.tree()
    predicted, made, again = (place.told(check=check) for check in (True, False, False))
    assert (predicted["commands"], predicted["diff"], again["changed"]) == (made["commands"], made["diff"], False)
    changes = [line for line in ndiff(before, place.read()) if line[0] in "+-"]
    assert sorted(changes) == [
        '+ bin_dir = "/opt/own/bin"',
        '+ conf_dir = "/etc/own/net.d"',
        f'- bin_dir = "{"/usr/lib/cni" if main == DEBIAN else "/opt/cni/bin"}"',
        '- conf_dir = "/etc/cni/net.d"',
    ]
    assert Path(place.runtime.drop_in).stat().st_mode & 0o777 == 0o600
    assert Path(place.runtime.main).stat().st_mode & 0o777 == 0o640
    gone = [place.told(None)["changed"] for _time in range(2)]
    assert (gone, place.tree(), place.read()) == ([True, False], files, before)


def test_a_change_of_the_main_file_is_followed(place: Place) -> None:
    place.write("config.toml", WITH_DROP_INS)
    place.told()
    place.write("config.toml", WITH_DROP_INS.replace("SystemdCgroup = true", "SystemdCgroup = false"))
    assert "SystemdCgroup = true" in place.read()
    assert place.told()["changed"]
    assert "SystemdCgroup = false" in place.read()


def test_a_runtime_that_is_right_by_itself_needs_no_drop_in_and_loses_ours(place: Place) -> None:
    assert "config.toml: there is no such file; one with the line version = 2 would be accepted" in place.told()["msg"]
    main = place.write("config.toml", DEBIAN)
    right = ("/etc/cni/net.d", "/usr/lib/cni")
    assert place.told(right)["changed"] is False
    place.told()
    assert place.told(right)["changed"]
    assert [(path, text) for path, _mode, text in place.tree()] == [(main, DEBIAN)]


def test_a_file_that_has_the_last_word_is_named(place: Place) -> None:
    place.write("config.toml", WITH_DROP_INS)
    registry = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    place.write("conf.d/10-early.toml", registry)
    later = place.write("conf.d/99-zz.toml", registry)
    said = place.told()["msg"]
    assert said.startswith(f"node1: runtime is containerd: {later} comes after {place.runtime.drop_in} and has the last word: ")
    assert not Path(place.runtime.drop_in).exists()
    place.write("conf.d/99-zz.toml", 'version = 2\n[debug]\nlevel = "warn"\n')
    place.told()
    assert 'config_path = "/etc/containerd/certs.d"' in place.read()


def test_from_version_3_on_only_a_file_with_the_same_keys_has_the_last_word(place: Place) -> None:
    place.write("config.toml", "version = 3\nimports = ['conf.d/*.toml']\n")
    place.write("conf.d/99-zz.toml", "version = 3\n[plugins.'io.containerd.cri.v1.runtime']\nenable_selinux = true\n")
    assert place.told()["changed"]
    place.write("conf.d/99-zz.toml", "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nconf_dir = '/etc/zz'\n")
    assert "99-zz.toml comes after" in place.told()["msg"]


def test_cri_o_gets_a_drop_in_alone(tmp_path: Path) -> None:
    place = Place(CRIO, tmp_path)
    place.write("crio.conf", '[crio.network]\nplugin_dirs = ["/usr/libexec/cni"]\n')
    files = place.tree()
    predicted, made, again = (place.told(check=check) for check in (True, False, False))
    assert predicted["commands"] == made["commands"] != []
    assert again["changed"] is False
    assert {path: text for path, _mode, text in place.tree()}[place.runtime.drop_in].splitlines()[1:] == [
        "[crio.network]",
        'network_dir = "/etc/own/net.d"',
        'plugin_dirs = ["/opt/own/bin"]',
    ]
    # CRI-O reads every file of the directory.
    assert all(text.startswith(("#", "[")) for _path, _mode, text in place.tree())
    place.told(None)
    assert place.tree() == files


@pytest.mark.parametrize(("option", "value"), [("config", "etc/x"), ("conf_directory", '/etc/"x'), ("plugin_directory", "/opt/a:/opt/b")])
def test_what_could_not_stand_between_quotes_is_refused(option: str, value: str) -> None:
    options = {"runtime": "crio", "config": "", "path": "", "conf_directory": "/etc/x", "plugin_directory": "/opt/x", "state": "present"}
    with pytest.raises(Refused, match=f"^node1: {option} is {value}: one absolute path"):
        runtime_target("node1", {**options, option: value})


def elsewhere(main: str, **options: str) -> None:
    given = {"runtime": "containerd", "runtime_config": main, "path": "/etc/cni/net.d/10.conflist", "plugin_directory": "/usr/lib/cni"}
    refuse_elsewhere("node1", {**given, **options})


def test_a_runtime_that_looks_elsewhere_is_named_with_what_says_so(place: Place, tmp_path: Path) -> None:
    main = place.write("config.toml", DEBIAN)
    elsewhere(main)
    (tmp_path / "link").symlink_to("/usr/lib/cni")
    elsewhere(main, plugin_directory=f"/opt/x:{tmp_path}/link")  # the same place by another name, among several
    elsewhere(place.write("linked.toml", DEBIAN.replace("/usr/lib/cni", f"{tmp_path}/link")))
    with pytest.raises(
        Refused, match=f"^node1: plugin_directory is /opt/x: containerd looks in /usr/lib/cni, by bin_dir in {main}: that would"
    ):
        elsewhere(main, plugin_directory="/opt/x")
    with pytest.raises(
        Refused, match=f"^node1: path is /etc/x/y.conflist: containerd looks in /etc/cni/net.d, by conf_dir in {main}: that"
    ):
        elsewhere(main, path="/etc/x/y.conflist")
    with pytest.raises(Refused, match="containerd looks in /opt/cni/bin, by the default of containerd: "):
        elsewhere(f"{main}.none")
