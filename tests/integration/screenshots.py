# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the report's page in docs/images, made anew by `make screenshots`. I/O: the browser, and the files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.podnet.baremetal.plugins.plugin_utils import _report_page
from ansible_collections.podnet.baremetal.plugins.plugin_utils._report_page import FILES, page
from browsers import Browser, browser
from labs import CHECKOUT
from verifications import verification

IMAGES = CHECKOUT / "docs" / "images"
PARTS = {name: (Path(_report_page.__file__).with_name("report") / name).read_text() for name in FILES}
# The name of the picture, how many nodes, and the colours; from which part of the page on, and how much of it.
PICTURES = (
    ("verification-light", 6, False, "header", 1260),
    ("verification-dark", 50, True, "#mesh", 880),
    ("verification-300", 300, False, "#mesh", 720),
)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as place, browser(Path(place)) as running:
        for name, count, dark, part, height in PICTURES:
            file = Path(place) / f"{name}.html"
            file.write_text(page(verification(count, broken=True), PARTS), encoding="utf-8")
            running.open(file, width=1200, height=height, dark=dark)
            show(running, part)
            running.picture(IMAGES / f"{name}.png")


def show(running: Browser, part: str) -> None:
    running.run("document.documentElement.style.scrollBehavior = 'auto'")
    running.run(f"document.querySelector('{part}').scrollIntoView()")
    running.settled()


if __name__ == "__main__":
    main()
