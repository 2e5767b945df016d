# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nonsense and malice wherever somebody's values are read: one sentence that names the field, or a correct result. No I/O."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import LONGEST, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import parse, text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger
from hostile import CANARY, LEDGER, VALUES, places, readers, with_value
from hypothesis import example, given, settings
from hypothesis import strategies as st

READERS = readers()
PLACES = list(places(LEDGER))
LONG = 4 * LONGEST

words = st.text(alphabet=st.characters(codec=None), max_size=30) | st.sampled_from([value for value in VALUES if isinstance(value, str)])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def said(read: Callable[[Any], Any], value: Any) -> str:
    """The sentence of the refusal, "" where there is a result. Any other exception is the test's failure."""
    try:
        read(value)
    except (Refused, AnsibleFilterError) as refusal:
        return str(refusal)
    return ""


def is_one_sentence(sentence: str) -> bool:
    return sentence.isprintable() and len(sentence) <= LONG


@pytest.mark.parametrize("name", READERS)
def test_each_hostile_value_is_one_sentence_or_a_result(name: str) -> None:
    for value in VALUES:
        sentence = said(READERS[name], value)
        assert is_one_sentence(sentence), value
    assert not Path(CANARY).exists(), "nothing is executed"


def test_most_of_them_are_refused() -> None:
    sentences = [said(read, value) for read in READERS.values() for value in VALUES]
    refused = sum(map(bool, sentences))
    sys.stdout.write(f"{len(sentences)} hostile inputs at {len(READERS)} places: {refused} refused, {len(sentences) - refused} taken\n")
    assert refused > len(sentences) * 3 // 4


@settings(max_examples=1500)
@given(st.sampled_from(sorted(READERS)), anything)
def test_whatever_somebody_gives_is_one_sentence_or_a_result(name: str, value: Any) -> None:
    assert is_one_sentence(said(READERS[name], value))


@settings(max_examples=1000)
@given(st.sampled_from(PLACES), anything)
@example(("nodes", "node1", "mac"), "02:f1:ac:14:01:00")
@example(("nodes", "node1", "subnets", 0), "172.20.1.0/24")
@example(("nodes", "node2", "underlay"), "198.51.100.1")
def test_a_ledger_with_any_value_in_any_field_is_refused_by_that_field_or_sound(place: tuple[Any, ...], value: Any) -> None:
    raw = json.dumps(with_value(LEDGER, place, value)).encode()
    try:
        ledger = parse(raw, "ledger.json")
    except Refused as refusal:
        sentence = str(refusal)
    else:
        assert parse(text(ledger).encode(), "ledger.json") == ledger
        return
    assert is_one_sentence(sentence)
    assert any(word in sentence for word in names_of(place)) or "the ledger is damaged" in sentence, sentence


def names_of(place: tuple[Any, ...]) -> list[str]:
    """What a sentence may call the field: by its own name, or by those of what is around it."""
    keys = [key for key in place if isinstance(key, str)]
    return [keys[-1].rstrip("s"), *(["a host's name"] if keys == ["nodes"] else [])]


def test_the_ledger_of_these_tests_is_sound() -> None:
    ledger = parse(json.dumps(LEDGER).encode(), "ledger.json")
    assert isinstance(ledger, Ledger)
    assert [len(lease.vteps) for lease in ledger.leases] == [2, 1]
