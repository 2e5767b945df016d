# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes the site of the documentation: the pages of docs/, the roles, and what antsibull-docs renders of plugins."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "podnet.baremetal"
html_title = project
html_theme = "furo"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 4
# Blocks that name no language are what a terminal shows, not Python.
highlight_language = "none"

ANSIBLE = "https://docs.ansible.com/ansible/latest/"
# Labels of Ansible's own site that the rendered pages refer to: what intersphinx would look up by the network.
LABELS = {
    "action_plugins": "plugins/action.html",
    "callback_plugins": "plugins/callback.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
PLUGIN = "ansible_collections.ansible.builtin."


def of_ansible(_app: Sphinx, _environment: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.reference | None:
    """A link to Ansible's site, if that is where the label is."""
    label = str(node.get("reftarget", ""))
    page = LABELS.get(label)
    if label.startswith(PLUGIN):
        page = f"collections/ansible/builtin/{label[len(PLUGIN) :]}.html"
    return nodes.reference("", "", content, refuri=ANSIBLE + page, internal=False) if page else None


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", of_ansible)
