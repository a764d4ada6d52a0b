"""Sphinx: the site from the same Markdown, which `make docs` builds into build/site without a network.

The pages stay plain Markdown: the navigation follows the sections and links of docs/index.md, and the page on
the Python API is made of docstrings here and of plain text where there is no Sphinx.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import omop_emb.plots  # noqa: E402 - of this checkout

project = "omop-emb"
author = copyright = "The omop-emb developers"
version = release = omop_emb.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The source is the checkout, so that links from docs/ to the changelog and to code hold.
root_doc = "docs/index"
nb_execution_mode = "off"  # notebooks hold their outputs, see tests/docs/test_notebooks.py
include_patterns = ["docs/**", "*.md", "benchmarks/*.md", "benchmarks/mapping/*.md"]
exclude_patterns = ["docs/_site/**"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # JSON with "…" in it

html_theme = "furo"
html_title = f"omop-emb {release}"
html_extra_path = ["_site"]  # index.html, which leads to docs/index.html
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it would fetch each page found, which a browser refuses for files
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": "Exception,Enum,str,object"}

_ENTRY = re.compile(r"^- \[[^\]]*\]\((?![a-z]+:)([^)\s#]+)\.(?:md|ipynb)", re.MULTILINE)
_TOCTREE = "\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


def _navigation(index: str) -> str:
    """Hidden tables of contents: a caption per section of the index, with the first link of each entry."""
    parts = []
    for section in index.split("\n## ")[1:]:
        if pages := dict.fromkeys(_ENTRY.findall(section)):
            parts.append(_TOCTREE.format(caption=section.partition("\n")[0], pages="\n".join(pages)))
    return "".join(parts)


def _api() -> str:
    """The public names with their docstrings."""
    names = [f"omop_emb.{name}" for name in sorted(omop_emb.__all__)]
    names += [f"omop_emb.plots.{name}" for name in ("coverage_precision", "recall", "reliability")]
    parts = ["# Python API\n", "All errors are subclasses of `OmopEmbError`.\n"]
    for name in names:
        module, _, attribute = name.rpartition(".")
        value = getattr(sys.modules[module], attribute)
        kind = "autoclass" if isinstance(value, type) else "autofunction"
        parts.append(f"## {attribute}\n\n```{{eval-rst}}\n.. {kind}:: {name}\n```\n")
    return "\n".join(parts)


def _change(app: Sphinx, name: str, source: list[str]) -> None:
    if name == "docs/index":
        source[0] += _navigation(source[0])
    elif name == "docs/reference/python-api":
        source[0] = _api()


# What Sphinx and furo leave out for those who read with keys or by ear: code and tables that scroll can be
# focused, side bars have names, captions of the navigation a level, and an empty cell is no heading.
# Changing a page twice changes nothing.
_FOR_EVERYBODY = (
    ("<pre>", '<pre tabindex="0">'),
    ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<th class="head"><p></p></th>', '<td class="head"></td>'),
    ("<th></th>", "<td></td>"),
    (
        '<div class="output text_html">',
        '<div tabindex="0" class="output text_html" style="overflow-x: auto">',
    ),
    ('<table border="1" class="dataframe">', '<table class="dataframe docutils">'),
    ('<aside class="sidebar-drawer', '<aside aria-label="All pages" class="sidebar-drawer'),
    ('<aside class="toc-drawer', '<aside aria-label="On this page" class="toc-drawer'),
)


def _finish(app: Sphinx, error: Exception | None) -> None:
    """Make the pages accessible."""
    for page in app.outdir.rglob("*.html") if error is None else ():
        text = page.read_text()
        for old, new in _FOR_EVERYBODY:
            text = text.replace(old, new)
        page.write_text(text)


def setup(app: Sphinx) -> None:
    """Connect the changes of pages, and name the kinds of blocks that Pygments does not know."""
    app.connect("source-read", _change)
    app.connect("build-finished", _finish)
    for kind in ("output", "csv"):
        app.add_lexer(kind, TextLexer)
