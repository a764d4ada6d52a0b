"""The site: it builds without a warning, holds every page, and asks no other server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.site_builder import ROOT, build_site

# What a browser fetches by itself; links that a reader follows may lead elsewhere.
_FETCHED = re.compile(r"<(?:script|img|iframe)[^>]*?\bsrc=\"([^\"]+)\"|<link[^>]*?\bhref=\"([^\"]+)\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


def test_every_page_is_in_the_site_and_in_its_navigation(site: Path) -> None:
    index = (site / "docs/index.html").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / "docs" / name).exists()
        assert name == Path("index.html") or f'href="{name}"' in index, f"{name} is not in docs/index.md"


def test_the_first_page_leads_to_the_index(site: Path) -> None:
    [target] = re.findall(r"url=([^\"]+)", (site / "index.html").read_text())
    assert (site / target).exists()


def test_no_page_fetches_from_another_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = ["".join(pair) for pair in _FETCHED.findall(page.read_text())]
        assert not [url for url in fetched if re.match(r"(?:[a-z]+:)?//", url)], page


def test_search_works_from_files_and_knows_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text()  # a script, which a browser runs from a file too
    assert index.startswith("Search.setIndex(")
    assert "docs/how-to/plots" in index


def test_the_api_is_made_of_docstrings(site: Path) -> None:
    page = (site / "docs/reference/python-api.html").read_text()
    for name in ("EmbeddingClient", "ConceptMatch", "find_concepts", "plots.reliability"):
        assert f'id="omop_emb.{name}"' in page
