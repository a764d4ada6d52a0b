"""Documentation examples about pictures run beside a server that speaks Gemini's protocol."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from omop_emb import EmbeddingClient, IndexType, database_engine
from omop_emb.database import session_scope
from omop_emb.database.engine import driver_connection
from omop_emb.indexing.build import build_index
from omop_emb.spaces import lifecycle, registry
from tests.conftest import NewDatabase, as_url
from tests.docs.test_examples import PICTURE_PAGES, ROOT, Fence, fences, run_page
from tests.fake_providers import FakeProviders
from tests.media_files import jpeg, pdf, png, wav

SETTINGS = {
    "OMOP_EMB_MODEL": "gemini:gemini-embedding-2",
    "OMOP_EMB_DIMENSIONS": "768",
    "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX": "title: none | text: ",
    "OMOP_EMB_QUERY_EMBEDDING_PREFIX": "task: search result | query: ",
}
FILES = {
    "panel.jpg": jpeg(),
    "order-set-1.png": png(1),
    "order-set-2.png": png(2),
    "dictated.wav": wav(3),
    "dictionary.pdf": pdf("GLUC is glucose", "NA is sodium, K is potassium"),
    "cuff.png": png(3),
    "new-cuff.png": png(4),
    "ecg.png": png(5),
    "scans/panel.jpg": jpeg(1),
}


@pytest.fixture(scope="module")
def gemini_template(
    server_conninfo: str, sample_template: str, new_database: NewDatabase, fake_server: FakeProviders
) -> Iterator[str]:
    """The name of a database that holds the sample in an active space, built as the page says."""
    with new_database(sample_template) as name, pytest.MonkeyPatch.context() as monkeypatch:
        fake_server.reset()
        fake_server.point_to(monkeypatch)
        for variable, value in SETTINGS.items():
            monkeypatch.setenv(variable, value)
        engine, client = database_engine(as_url(server_conninfo, dbname=name)), EmbeddingClient()
        build_index(engine, client, index_type=IndexType.FLAT)
        with session_scope(engine) as session:
            connection = driver_connection(session)
            lifecycle.activate_space(
                connection, registry.space_by_fingerprint(connection, client.fingerprint, IndexType.FLAT)
            )
        engine.dispose()
        yield name


def the(page: Path, info: str) -> Fence:
    """The one block of this kind on a page."""
    (fence,) = [fence for fence in fences(page.read_text()) if fence.info == info]
    return fence


@pytest.mark.parametrize("name", PICTURE_PAGES)
def test_the_examples_of_a_page_about_pictures_run(
    name: str,
    server_conninfo: str,
    gemini_template: str,
    new_database: NewDatabase,
    fake: FakeProviders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    page = ROOT / "docs" / "how-to" / name
    for file, content in FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    if name == "map-with-pages.md":
        (tmp_path / "items.csv").write_text(the(page, "csv").text)
    for variable, value in SETTINGS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    with new_database(gemini_template) as database:
        monkeypatch.setenv("OMOP_EMB_DATABASE_URL", as_url(server_conninfo, dbname=database))
        run_page(page, tmp_path)
    assert any("inline_data" in str(call.body) for call in fake.calls)


def test_the_page_builds_the_space_that_its_examples_run_in() -> None:
    text = the(ROOT / "docs" / "how-to" / PICTURE_PAGES[0], "text").text
    for variable, value in SETTINGS.items():
        assert f"{variable}={value}" in text or f"{variable}='{value}'" in text
