# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a container runtime looks for CNI, by its own configuration files, and what to write there to have it look elsewhere. Pure.

Nodes have no TOML parser before Python 3.11, and little of it is needed: tables, and keys with texts or lists of texts.
Sources: containerd's docs/cri/config.md and server/config/config.go, and crio.conf(5) and crio.conf.d(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from posixpath import dirname, join
from typing import NamedTuple

Table = tuple[str, ...]

CONF_DIRECTORY, PLUGIN_DIRECTORY = "/etc/cni/net.d", "/opt/cni/bin"  # the defaults of both runtimes
MARK = "# podnet.baremetal.cni"
MERGING = 3  # the version of a configuration from which on it is containerd 2.0 or newer
ITEM = re.compile(r"^[ \t]*(?:\[{1,2}(?P<table>[^\[\]\n]+)\]{1,2}|(?P<key>[\w-]+)[ \t]*=[ \t]*(?P<value>\[[^\]]*\]|[^\n]*))", re.MULTILINE)
HEADER = re.compile(r"[ \t]*\[{1,2}([^\[\]]+)\]{1,2}[ \t]*(?:#.*)?")
NAME = re.compile(r"""["']([^"'\n]+)["']|([\w-]+)""")
TEXT = re.compile(r"""["']([^"'\n]*)["']""")
IMPORTS = re.compile(r"^[ \t]*imports[ \t]*=[ \t]*\[([^\]]*)\]", re.MULTILINE)


class File(NamedTuple):
    """A configuration file of a runtime. They are listed in the order in which it reads them."""

    path: str
    text: str


class Setting(NamedTuple):
    """Directories, and what says so."""

    values: tuple[str, ...]
    source: str


class Runtime(NamedTuple):
    """Where a runtime keeps what it is to do with CNI."""

    name: str
    main: str
    drop_in: str
    tables: tuple[Table, ...]
    conf_key: str
    plugin_keys: tuple[str, str]  # for one directory, for several


# The names of containerd's plugin in configurations of version 1, 2, and 3 on.
CRI = (("plugins", "cri"), ("plugins", "io.containerd.grpc.v1.cri"), ("plugins", "io.containerd.cri.v1.runtime"))
CONTAINERD = Runtime(
    "containerd",
    "/etc/containerd/config.toml",
    "/etc/containerd/conf.d/99-podnet-cni.toml",
    tuple((*plugin, "cni") for plugin in CRI),
    "conf_dir",
    ("bin_dir", "bin_dirs"),
)
CRIO = Runtime(
    "crio",
    "/etc/crio/crio.conf",
    "/etc/crio/crio.conf.d/99-podnet-cni.conf",
    (("crio", "network"),),
    "network_dir",
    ("plugin_dir", "plugin_dirs"),
)
RUNTIMES = {runtime.name: runtime for runtime in (CONTAINERD, CRIO)}


def looked_up(runtime: Runtime, files: Sequence[File]) -> tuple[Setting, Setting]:
    """Where the runtime looks for configurations, and where for plugins."""
    default = f"the default of {runtime.name}"
    conf, plugins = Setting((CONF_DIRECTORY,), default), Setting((PLUGIN_DIRECTORY,), default)
    for file, key, values in _of_cni(runtime, files):
        if key == runtime.conf_key:
            conf = Setting(values, f"{key} in {file.path}")
        elif key in runtime.plugin_keys:
            # containerd adds up the lists of its files (sliceTransformer), CRI-O takes the last.
            added = plugins.values if key == "bin_dirs" and plugins.source.startswith(key) else ()
            plugins = Setting((*added, *values), f"{key} in {file.path}")
    return conf, plugins


def serves_pods(files: Sequence[File]) -> bool:
    """Whether it is a runtime for Kubernetes; the containerd that comes with Docker is not."""
    disabled = {text for file in files for text in _top(file, "disabled_plugins")}
    return not disabled & {plugin[-1] for plugin in CRI}


def imports(file: File) -> list[str]:
    """The patterns of other files that a file of containerd names, as absolute paths (resolveImports)."""
    return [join(dirname(file.path), pattern) for pattern in _top(file, "imports")]


def drop_in(runtime: Runtime, files: Sequence[File], conf: str, plugins: str) -> str:
    """The text that has the runtime look in these directories. `files` are those of others."""
    if runtime.name != CONTAINERD.name:
        return f'{MARK}\n[crio.network]\nnetwork_dir = "{conf}"\nplugin_dirs = ["{plugins}"]\n'
    version = config_version(files)
    keys = {key for _file, key, _values in _of_cni(runtime, files)}
    several = "bin_dirs" in keys or ("bin_dir" not in keys and version >= MERGING)
    lines = [f'conf_dir = "{conf}"', f'bin_dirs = ["{plugins}"]' if several else f'bin_dir = "{plugins}"']
    plugin = CRI[min(version, MERGING) - 1]
    section = [] if several or version >= MERGING else _section(files, plugin)
    header = f'[{plugin[0]}."{plugin[1]}".cni]'
    if not any(_is_header(line, (*plugin, "cni")) for line in section):
        section.append(header)
    text = [line for old in section for line in ([old, *lines] if _is_header(old, (*plugin, "cni")) else [old])]
    return "\n".join([MARK, f"version = {version}", *text, ""])


def config_version(files: Sequence[File]) -> int:
    """That of containerd's main file. One without is of version 1."""
    found = re.search(r"^[ \t]*version[ \t]*=[ \t]*(\d+)", files[0].text, re.MULTILINE)
    return int(found[1]) if found else 1


def decides(runtime: Runtime, file: File, version: int) -> bool:
    """Whether the file would have the last word on CNI if it came after the drop-in.

    Before 2.0 containerd takes a plugin's whole section from the last file with one (containerd/containerd 5837), since then key by key.
    """
    if runtime.name == CONTAINERD.name and version < MERGING:
        return any(table[:2] in CRI for table, _key, _value in _items(file.text))
    return any(True for _each in _of_cni(runtime, [file]))


def with_import(main: File, path: str) -> str:
    """The text of containerd's main file that imports the other one too."""
    # No pattern that is not absolute counts: before 2.0 it is one of the directory in which containerd was started.
    if any(fnmatchcase(path, pattern) for pattern in _top(main, "imports")):
        return main.text
    found = IMPORTS.search(_head(main.text))
    if not found:
        return f'imports = ["{path}"]  {MARK}\n{main.text}'
    comma = "" if found[1].rstrip()[-1:] in ("", ",") else ", "
    return f'{main.text[: found.end(1)]}{comma}"{path}"{main.text[found.end(1) :]}'


def without_import(main: File, path: str) -> str:
    """The text as it was before `with_import`."""
    head = _head(main.text)
    rest = main.text[len(head) :]
    for ours in (f'imports = ["{path}"]  {MARK}\n', f', "{path}"', f'"{path}"'):
        if ours in head:
            return head.replace(ours, "", 1) + rest
    return main.text


def _top(file: File, key: str) -> list[str]:
    """The texts of a key that is in no table."""
    return [text for table, name, texts in _items(file.text) if name == key and not table for text in texts]


def _head(text: str) -> str:
    """What comes before the first table."""
    found = next((item for item in ITEM.finditer(text) if item["table"]), None)
    return text[: found.start()] if found else text


def _items(text: str) -> Iterator[tuple[Table, str, tuple[str, ...]]]:
    """Table, key, and the texts of its value, none for a number."""
    table: Table = ()
    for item in ITEM.finditer(text):
        if item["table"]:
            table = _names(item["table"])
        else:
            value = item["value"]
            texts = TEXT.findall(re.sub(r"#[^\n]*", "", value)) if value.startswith("[") else TEXT.findall(value)[:1]
            yield table, item["key"], tuple(filter(None, texts))


def _of_cni(runtime: Runtime, files: Sequence[File]) -> Iterator[tuple[File, str, tuple[str, ...]]]:
    keys = (runtime.conf_key, *runtime.plugin_keys)
    for file in files:
        for table, key, values in _items(file.text):
            if table in runtime.tables and key in keys and values:
                yield file, key, values


def _section(files: Sequence[File], plugin: Table) -> list[str]:
    """The lines that the last file with a section of the plugin has there, without what is said of CNI's directories."""
    for file in reversed(files):
        table: Table = ()
        lines = []
        for line in file.text.splitlines():
            header = HEADER.fullmatch(line)
            table = _names(header[1]) if header else table
            ours = table == (*plugin, "cni") and re.match(r"\s*(bin_dir|conf_dir)\s*=", line)
            if table[:2] == plugin and not ours:
                lines.append(line)
        if lines:
            return lines
    return []


def _is_header(line: str, table: Table) -> bool:
    header = HEADER.fullmatch(line)
    return header is not None and _names(header[1]) == table


def _names(text: str) -> Table:
    return tuple(quoted or plain for quoted, plain in NAME.findall(text))
