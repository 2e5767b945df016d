# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of kube-controller-manager: what they are to be, and setting them in a unit or a static pod's manifest. No I/O.

A unit may come with the environment files that set its variables, as a list of texts. They are one text to the code below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, TypeVar

import yaml
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Network

PROGRAM = "kube-controller-manager"
FLAG = re.compile(r"--([\w-]+)(?:=(.*))?", re.DOTALL)
SWITCHES = {"allocate-node-cidrs"}  # pflag gives a boolean no word of its own for its value
SERVICE = re.compile(r"^\[Service\]\s*$(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
START = re.compile(r"^ExecStart[ \t]*=[ \t]*[-@:+!|]*(?=[^\s])", re.MULTILINE)
# systemd.syntax(7): a backslash at the end goes on in the next line, and comments in between are left out.
GAP = re.compile(r"(?:[ \t]|\\\r?\n(?:[ \t]*[#;].*\n)*)+")
GAP_BEFORE = re.compile(rf"(?:{GAP.pattern})?\Z")
WORD = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\\[^\r\n]|[^\s"'\\])+""")
# systemd.exec(5), EnvironmentFile=: a line for each variable; a backslash at the end goes on in the next, in quotes and without.
NEXT_FILE = "\0\n"
ASSIGNMENT = re.compile(r"""^[ \t]*(\w+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|((?:[^\n\0\\]|\\.)*))""", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
PLAIN = re.compile(r"""[^\s"'\\]+""")

Flags = Mapping[str, Optional[str]]
Texts = TypeVar("Texts", str, "list[str]")


class Word(NamedTuple):
    """A word of the command line: what the program is given, where it stands in the text, and how words are set apart there."""

    text: str
    start: int
    end: int
    style: str  # unit or environment; block or flow, for a list in YAML


class Splice(NamedTuple):
    """A part of the text that becomes another."""

    start: int
    end: int
    text: str


# --- what the flags are to be --------------------------------------------------------------------------------------------


def controller_manager_flags(
    cluster_cidr: Any, service_cidr: Any, node_prefix: Any = (), *, allocate: bool = False
) -> dict[str, str | None]:
    """Every flag that says which addresses pods and services have. None is one that must not be there.

    kube-controller-manager ends at --node-cidr-mask-size with two families, and at the two for each family with one
    (setNodeCIDRMaskSizes and setNodeCIDRMaskSizesDualStack in cmd/kube-controller-manager/app/core.go).
    """
    network = Network.of(cluster_cidr, service_cidr, node_prefix)
    families = ["ipv6" if ":" in each else "ipv4" for each in network.cluster_cidrs]
    if len(set(families)) < len(families):
        given = ", ".join(network.cluster_cidrs)
        raise refuse("the inventory", "podnet_cluster_cidr", given, f"{PROGRAM} takes one range, or one IPv4 and one IPv6 range")
    if not network.service_cidrs:
        raise refuse("the inventory", "podnet_service_cidr", "missing", "give the range of all services, such as 10.68.0.0/16")
    masks = dict(zip(families, map(str, network.node_prefixes)))
    alone = len(families) == 1
    return {
        "allocate-node-cidrs": str(allocate).lower(),
        "cluster-cidr": ",".join(network.cluster_cidrs),
        "service-cluster-ip-range": ",".join(network.service_cidrs),
        "node-cidr-mask-size": masks[families[0]] if alone else None,
        "node-cidr-mask-size-ipv4": None if alone else masks["ipv4"],
        "node-cidr-mask-size-ipv6": None if alone else masks["ipv6"],
    }


def cluster_configuration(flags: Flags, settings: Mapping[str, Any], api_version: str) -> dict[str, Any]:
    """kubeadm's ClusterConfiguration: the user's settings and in them our flags, the ranges where kubeadm itself looks for them."""
    ranges = {"podSubnet": flags["cluster-cidr"], "serviceSubnet": flags["service-cluster-ip-range"]}
    manager = settings.get("controllerManager", {})
    others = {name: value for name, value in flags.items() if name not in ("cluster-cidr", "service-cluster-ip-range")}
    return {
        **settings,
        "apiVersion": api_version,
        "kind": "ClusterConfiguration",
        "networking": {**settings.get("networking", {}), **ranges},
        "controllerManager": {**manager, "extraArgs": _extra_arguments(manager.get("extraArgs", ()), others, api_version)},
    }


def _extra_arguments(given: Any, flags: Flags, api_version: str) -> Any:
    """A mapping until v1beta3, a list of names and values since v1beta4, in which a name may come several times."""
    wanted = {name: value for name, value in flags.items() if value is not None}
    if api_version.endswith(("v1beta1", "v1beta2", "v1beta3")):
        return {**{name: value for name, value in dict(given).items() if name not in flags}, **wanted}
    return [each for each in given if each["name"] not in flags] + [{"name": name, "value": value} for name, value in wanted.items()]


# --- in the text of a unit or a manifest -----------------------------------------------------------------------------------


def kube_flags(text: str | list[str], names: Iterable[str], program: str = PROGRAM) -> dict[str, str | None]:
    """What the command line says of the flags, None for one that is not there. The last of several counts, as it does for pflag."""
    words = _command_line(text if isinstance(text, str) else NEXT_FILE.join(text), program)
    said = {_name(words[at].text): words[at + 1].text if apart else _value(words[at]) for at, apart in _flags(words)}
    return {name: said.get(name) for name in names}


def with_kube_flags(text: Texts, flags: Flags, program: str = PROGRAM) -> Texts:
    """The text with the flags as given; None is one that goes. Everything else stays as it is, letter by letter."""
    if isinstance(text, str):
        return _with_flags(text, flags, program)
    return _with_flags(NEXT_FILE.join(text), flags, program).split(NEXT_FILE)


def _with_flags(text: str, flags: Flags, program: str) -> str:
    words = _command_line(text, program)
    splices = [*_changes(text, words, flags), *_additions(text, words, flags)]
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    told = [word.text for word in _command_line(text, program)]
    if told != _expected(words, flags):
        names = ", ".join(f"--{name}" for name in flags)
        raise Refused(f"{program}: {names} cannot be set where they stand: write each flag of its command line in a line of its own.")
    return text


def _expected(words: Sequence[Word], flags: Flags) -> list[str]:
    """The command line as a list of words, after the change."""
    found = {at: apart for at, apart in _flags(words) if _name(words[at].text) in flags}
    values = {at + 1 for at, apart in found.items() if apart}
    told = []
    for at, word in enumerate(words):
        if at in found:
            told += _renewed(word, flags[_name(word.text)], apart=found[at])
        elif at not in values:
            told.append(word.text)
    return told + list(_missing(words, flags))


def _renewed(flag: Word, value: str | None, *, apart: bool) -> list[str]:
    if value is None:
        return []
    return [flag.text, value] if apart else [f"{flag.text.partition('=')[0]}={value}"]


def _missing(words: Sequence[Word], flags: Flags) -> Iterator[str]:
    there = {_name(words[at].text) for at, _apart in _flags(words)}
    return (f"--{name}={value}" for name, value in flags.items() if value is not None and name not in there)


def _changes(text: str, words: Sequence[Word], flags: Flags) -> Iterator[Splice]:
    for at, apart in _flags(words):
        name, own = _name(words[at].text), range(at, at + 1 + apart)
        if name not in flags:
            continue
        if flags[name] is None:
            yield from (_removal(text, words[index - 1], words[index]) for index in own)
        for index, new in zip(own, _renewed(words[at], flags[name], apart=apart)):
            word = words[index]
            if word.text != new:
                yield Splice(word.start, word.end, _respelt(word, text[word.start : word.end], new))


def _respelt(word: Word, raw: str, new: str) -> str:
    """The word as the text has it, quotes and all, with another value. A comma would end a plain word of a list in brackets."""
    if word.style == "flow" and raw == word.text:
        return f'"{new}"'
    if word.text in raw:
        return raw.replace(word.text, new, 1)
    return raw.replace(word.text.partition("=")[2], new.partition("=")[2], 1)


def _removal(text: str, before: Word, word: Word) -> Splice:
    """In YAML its line goes. Elsewhere what sets it apart from the word before goes with it, which must not be a comment."""
    if word.style == "block":
        return Splice(text.rindex("\n", 0, word.start), _end_of_line(text, word), "")
    gap = GAP_BEFORE.search(text, 0, word.start)
    start = before.end if word.style == "flow" or gap is None else gap.start()
    if "#" in text[start : word.start] or ";" in text[start : word.start]:
        raise Refused(f"{word.text} cannot be taken out, since a comment stands before it: take it out by hand.")
    return Splice(start, word.end, "")


def _additions(text: str, words: Sequence[Word], flags: Flags) -> Iterator[Splice]:
    new, last = list(_missing(words, flags)), words[-1]
    line = text[text.rfind("\n", 0, last.start) + 1 : last.start]
    if not new:
        return
    if last.style == "block":
        end = _end_of_line(text, last)
        yield Splice(end, end, "".join(f"\n{' ' * line.index('-')}- {word}" for word in new))
    elif last.style == "flow":
        yield Splice(last.end, last.end, "".join(f', "{word}"' for word in new))
    else:
        apart = f" \\\n{line}" if line.isspace() else " "
        yield Splice(last.end, last.end, "".join(f"{apart}{word}" for word in new))


def _end_of_line(text: str, word: Word) -> int:
    return text.find("\n", word.end) if "\n" in text[word.end :] else len(text)


# --- a command line, as a list of words --------------------------------------------------------------------------------------


def _flags(words: Sequence[Word]) -> Iterator[tuple[int, bool]]:
    """Where each flag is, and whether its value is a word of its own: --flag=value or --flag value."""
    for at, word in enumerate(words):
        found = FLAG.fullmatch(word.text)
        if found:
            follows = found[2] is None and _name(word.text) not in SWITCHES and at + 1 < len(words)
            yield at, follows and not FLAG.fullmatch(words[at + 1].text)


def _name(text: str) -> str:
    """Underscores are dashes (WordSepNormalizeFunc in k8s.io/component-base/cli/flag)."""
    found = FLAG.fullmatch(text)
    return found[1].replace("_", "-") if found else ""


def _value(flag: Word) -> str:
    return flag.text.partition("=")[2] or "true"


def _command_line(text: str, program: str) -> list[Word]:
    words = _of_unit(text) if SERVICE.search(text) else _of_manifest(text, program)
    if not any(word.text.split("/")[-1] == program for word in words[:2]):
        raise Refused(f"{program}: the command line begins with {' '.join(w.text for w in words[:2])!r}: expected that it runs {program}.")
    return words


def _of_unit(text: str) -> list[Word]:
    """The words of ExecStart= of a unit file, systemd.service(5), each variable with those that an environment file gives it."""
    unit = text.partition(NEXT_FILE)[0]
    service = SERVICE.search(unit)
    starts = [found.end() for found in START.finditer(unit, *service.span(1))] if service else []
    if len(starts) != 1:
        raise Refused(f"{PROGRAM}: the unit has {len(starts)} commands in ExecStart=: expected one.")
    variables = {found[1]: list(_words_in(text, *found.span(found.lastindex or 1))) for found in ASSIGNMENT.finditer(text, len(unit))}
    at, words = starts[0], []
    while found := WORD.match(unit, at):
        words.append(Word(re.sub(r"""["']""", "", found[0]), found.start(), found.end(), "unit"))
        variable = VARIABLE.fullmatch(words[-1].text)
        words += variables.get(variable[1], ()) if variable else ()
        gap = GAP.match(unit, found.end())
        at = gap.end() if gap else found.end()
    return words


def _words_in(text: str, start: int, end: int) -> Iterator[Word]:
    return (Word(found[0], found.start(), found.end(), "environment") for found in PLAIN.finditer(text, start, end))


def _of_manifest(text: str, program: str) -> list[Word]:
    """The words of `command` and `args` of the container in a static pod's manifest."""
    try:
        pod = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Refused(f"{program}: the manifest is not YAML: {' '.join(str(error).split())}.") from error
    containers = [each for each in _items(_at(pod, "spec", "containers")) if program in _text_of(_at(each, "name"))]
    if len(containers) != 1:
        raise Refused(f"{program}: the manifest has {len(containers)} containers of this name: expected one.")
    return [word for key in ("command", "args") for word in _words_of(_at(containers[0], key))]


def _words_of(node: yaml.Node | None) -> Iterator[Word]:
    style = "flow" if isinstance(node, yaml.SequenceNode) and node.flow_style else "block"
    return (Word(_text_of(item), item.start_mark.index, item.end_mark.index, style) for item in _items(node))


def _at(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    for key in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if _text_of(name) == key), None)
    return node


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _text_of(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
