# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a verification as a person has it: in a real Chromium, with three nodes and with three hundred. I/O: the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _report_page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_page import FILES, page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document
from browsers import Browser, browser
from verifications import renamed, verification

PARTS = {name: (Path(_report_page.__file__).with_name("report") / name).read_text() for name in FILES}
SIZES = {"three": 3, "six": 6, "many": 300}
HOSTILE = "</script><script>throw 1</script><img src=http://192.0.2.1/>"
# The colour of each text and of what is behind it, and the contrast of the two as WCAG 2.2 (1.4.3) defines it. Opaque colours only.
FAINT = """
(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => parts(text).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const box = each instanceof SVGElement && each.closest("a")?.querySelector(".box");
      if (box) return getComputedStyle(box).fill;
      const back = getComputedStyle(each).backgroundColor;
      if ((parts(back)[3] ?? 1) === 1) return back;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, title, option")) continue;
    const style = getComputedStyle(element);
    const [front, back] = [light(element instanceof SVGElement ? style.fill : style.color), light(behind(element))].sort((a, b) => b - a);
    seen++;
    if ((front + 0.05) / (back + 0.05) < 4.5) found.push(`${walk.currentNode.data.trim().slice(0, 40)} ${(front + 0.05) / (back + 0.05)}`);
  }
  return [seen, found];
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("pages")
    return {
        name: written(directory / f"{name}.html", verification(count, broken=count > 3, dual=count == 6)) for name, count in SIZES.items()
    }


def written(path: Path, document: Document) -> Path:
    path.write_text(page(document, PARTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("name", SIZES)
def test_the_page_loads_itself_alone_without_complaint_and_fits(chromium: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    for dark in (False, True):
        chromium.open(pages[name], width=width, dark=dark)
        chromium.run("document.querySelectorAll('details').forEach((each, index) => { each.open = index < 12; })")
        chromium.settled()
        assert chromium.complaints() == []
        assert chromium.requests() == [pages[name].as_uri()]
        assert chromium.run("document.documentElement.scrollWidth") == width
        seen, faint = chromium.run(FAINT)
        assert faint == []
        assert seen > 10 * SIZES[name] ** 0.5


def test_the_page_of_three_hundred_nodes_and_all_pairs_is_smaller_than_four_mebibytes(pages: dict[str, Path]) -> None:
    assert pages["many"].stat().st_size < 4 << 20


def test_problems_are_on_top_with_commands_that_can_be_copied(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["six"])
    assert chromium.run("document.title") == "3 errors and 1 warning found - pod network"
    texts = chromium.run(
        "[...document.querySelectorAll('.problems li')].map((each) => [each.className, each.querySelector('code')?.textContent])"
    )
    assert [kind for kind, _text in texts] == ["error", "error", "error", "warning"]
    assert chromium.run("document.querySelector('#problems').compareDocumentPosition(document.querySelector('#mesh'))") == 4  # FOLLOWING
    chromium.run("document.querySelector('.repair button').click()")
    copied = chromium.run("new Promise((done) => setTimeout(() => done(document.querySelector('.repair button').textContent)))")
    assert copied in ("Copied", "Selected")
    assert chromium.run("getSelection().toString()") == texts[1][1]


def test_the_heat_map_is_walked_by_keys_and_says_where_it_is(chromium: Browser, pages: dict[str, Path]) -> None:
    for name, last in (("six", "node6"), ("many", "node300")):
        chromium.open(pages[name])
        chromium.settled()
        chromium.run("document.querySelector('#from').closest('details').previousElementSibling.previousElementSibling.scrollIntoView()")
        chromium.run("document.querySelector('#search').blur(); document.querySelector('#view').focus()")
        chromium.press("Tab")
        assert chromium.run("document.activeElement.id") == "heat"
        assert said(chromium)[0] == "node1 to node2"
        chromium.press("ArrowDown", "ArrowRight")
        assert said(chromium)[0] == "node2 to node3"
        chromium.press("End")
        assert said(chromium)[0] == f"node2 to {last}"
        assert said(chromium)[1].endswith(": no answer")
        chromium.press("f")
        assert said(chromium)[:2] == ["node3 to node1", said(chromium)[1].split(":")[0] + ": Network is unreachable"]
        chromium.press("Enter")
        assert chromium.run("document.activeElement.closest('details').id") == "node-node3"
        assert chromium.run("document.activeElement.closest('details').open")


def said(chromium: Browser) -> list[str]:
    return list(chromium.run("[...document.querySelectorAll('#readout > *')].map((each) => each.textContent)"))


def test_what_the_picture_shows_is_a_table_too(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["six"])
    chromium.run("document.querySelector('#row').open = true")
    chromium.settled()
    chromium.run("document.querySelector('#from').value = 2; document.querySelector('#from').dispatchEvent(new Event('change'))")
    table = chromium.run("[...document.querySelectorAll('#row-table tr')].map((row) => [...row.children].map((cell) => cell.textContent))")
    assert table[0][:3] == ["to", "pod to pod, IPv4", "pod to pod, IPv6"]
    assert table[1][:3] == ["node1", "Network is unreachable", "Network is unreachable"]
    assert table[3][1] == "itself"
    assert table[2][1].endswith(" ms")


def test_a_cell_that_failed_is_marked_by_more_than_its_colour(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["six"])
    chromium.settled()
    # Of the pixels of one cell: node2's to node6 failed, node2's to node1 did not, and has its figure in one other colour and its blends.
    colours = """((x, y) => { const pen = document.querySelector('#heat').getContext('2d');
      const data = pen.getImageData(x - 8, y - 8, 16, 16).data; const found = {};
      for (let i = 0; i < data.length; i += 4) { const key = data.slice(i, i + 3).join(); found[key] = (found[key] || 0) + 1; }
      return found; })"""
    layout = "(() => { const heat = document.querySelector('#heat'); return [heat.width, heat.height]; })()"
    width, height = chromium.run(layout)
    top, margin, cell = 22, width - 4 - 6 * 132, 132
    assert height == top + 6 * 40 + 4
    failed = chromium.run(f"{colours}({margin + 5 * cell + cell // 2}, {top + 40 + 19})")
    assert {"196,38,29", "255,255,255"} <= set(failed)


def test_nodes_are_found_by_their_address_and_open_with_their_tables(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["many"])
    shown = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden).map((card) => card.id)"
    assert chromium.run(shown) == ["node-node1", "node-node2", "node-node3", "node-node300"]
    chromium.run("document.querySelector('#wrong').click()")
    assert len(chromium.run(shown)) == 300
    chromium.run("document.querySelector('#search').value = '172.20.76.0'")
    chromium.run("document.querySelector('#search').dispatchEvent(new Event('input'))")
    assert chromium.run(shown) == ["node-node77"]
    chromium.run("document.querySelector('#node-node3').open = true")
    chromium.settled()
    text = chromium.run("document.querySelector('#node-node3').textContent")
    assert "ip route replace 172.20.0.0/24 via 172.20.0.0 dev flannel.1" in text
    assert "Not as they should be: node1" in text
    assert "298 peers in its tables, 298 as their own nodes have them" in text


def test_light_and_dark_follow_the_system_and_the_switch(chromium: Browser, pages: dict[str, Path]) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    chromium.open(pages["three"])
    light = chromium.run(back)
    chromium.scheme(dark=True)
    dark = chromium.run(back)
    assert light != dark
    switch = "(() => {{ const field = document.querySelector('#theme'); field.value = '{}'; field.dispatchEvent(new Event('change')); }})()"
    chromium.run(switch.format("light"))
    assert chromium.run(back) == light
    chromium.run(switch.format(""))
    assert chromium.run(back) == dark
    chromium.scheme(dark=True, media="print")
    assert chromium.run(back) == light
    assert not chromium.run("document.querySelector('nav').checkVisibility()")


def test_hostile_names_are_shown_and_not_run(chromium: Browser, tmp_path: Path) -> None:
    path = written(tmp_path / "hostile.html", renamed(verification(4, broken=True), HOSTILE))
    chromium.open(path)
    chromium.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    chromium.settled()
    assert chromium.complaints() == []
    assert chromium.requests() == [path.as_uri()]
    assert chromium.run("[document.querySelectorAll('img').length, document.scripts.length]") == [0, 2]
    assert chromium.run("document.querySelector('.card h3').firstChild.textContent") == f"node1{HOSTILE}"
    chromium.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))")
    assert chromium.run("window.ran") is None  # the policy admits the page's own script alone
