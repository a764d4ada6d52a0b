"""omop-emb map with a column of files, in a space of Gemini."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omop_emb import EmbeddingClient, EmbeddingInterface, IndexType, Part, database_engine
from omop_emb.database import session_scope
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError
from omop_emb.indexing.build import build_index
from omop_emb.mapping.files.result_json import from_json, to_json
from omop_emb.mapping.mapper import map_terms
from omop_emb.mapping.records import SourceTerm
from omop_emb.spaces import lifecycle, registry
from tests.conftest import NewDatabase, as_url
from tests.fake_providers import FakeProviders, Fault, media_text
from tests.media_files import pdf, png

Run = Callable[..., Result]
OSTEOARTHRITIS = 80180
PICTURE = media_text("image/png", png(2))


@pytest.fixture(scope="module")
def gemini_database(
    server_conninfo: str, sample_template: str, new_database: NewDatabase, fake_server: FakeProviders
) -> Iterator[str]:
    """The sample in an active space of gemini-embedding-2, where osteoarthritis has a picture."""
    with new_database(sample_template) as name, pytest.MonkeyPatch.context() as monkeypatch:
        url = as_url(server_conninfo, dbname=name)
        fake_server.reset()
        fake_server.point_to(monkeypatch)
        # The same prefix for both roles: what is equal gets an equal vector, of a query and of a document.
        client = EmbeddingClient(
            "gemini:gemini-embedding-2", dimensions=128, document_prefix="", query_prefix="", warn=False
        )
        engine = database_engine(url)
        build_index(engine, client, index_type=IndexType.FLAT)
        with session_scope(engine) as session:
            EmbeddingInterface(client).embed_and_upsert_concepts(
                session=session,
                index_type="flat",
                concept_ids=[OSTEOARTHRITIS],
                concept_texts=[["zzzz qqqq", Part.image(png(2))]],
            )
            connection = driver_connection(session)
            lifecycle.activate_space(
                connection, registry.space_by_fingerprint(connection, client.fingerprint, IndexType.FLAT)
            )
        engine.dispose()
        yield url


@pytest.fixture
def run(gemini_database: str, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command above the folder "in", which has knee.png; errors are raised."""
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", gemini_database)
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/knee.png").write_bytes(png(2))

    def run(table: str, *arguments: str) -> Result:
        Path("in/terms.csv").write_text(table)
        command = import_module("omop_emb.cli.map").command
        result = CliRunner().invoke(
            command,
            ["in/terms.csv", "-o", "out.csv", "--part-column", "picture", *arguments],
            standalone_mode=False,
        )
        if result.exception is not None:
            raise result.exception
        return result

    return run


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def sent_with_files(fake: FakeProviders) -> list[str]:
    return sorted(text for call in fake.calls for text in call.texts if "<" in text)


def test_a_term_is_searched_with_its_file_too(run: Run, fake: FakeProviders) -> None:
    table = "code,name,picture\n1,zzzz qqqq,knee.png\n2,zzzz qqqq,\n3,Cough,knee.png\n4,Cough,./knee.png\n"
    done = run(table, "--candidates-output", "all.csv")
    assert done.return_value == 0
    found = {
        (row["source_code"], row["query_rule"])
        for row in rows("all.csv")
        if row["concept_id"] == str(OSTEOARTHRITIS)
    }
    assert ("1", "with its files") in found
    assert "2" not in {code for code, _ in found}
    # Each pair of a name and a file is sent once, and by the file's content, not its name.
    assert sent_with_files(fake) == sorted([f"Cough{PICTURE}", f"zzzz qqqq{PICTURE}"])
    assert [row["picture"] for row in rows("out.csv")] == ["knee.png", "", "knee.png", "./knee.png"]
    line = (
        "3 terms go to gemini:gemini-embedding-2 with 2 files or pages: about 774 tokens, less than 0.01 USD"
    )
    assert line in done.stderr
    assert "files: picture" in done.stderr


def test_a_file_that_cannot_be_read_is_a_problem_of_its_row(run: Run, fake: FakeProviders) -> None:
    Path("secret.png").write_bytes(png(5))
    Path("in/link.png").symlink_to(Path("secret.png").absolute())
    Path("in/words.png").write_text("GLUC,glucose")
    Path("in/dark.png").write_bytes(b"GIF89a")
    os.mkfifo("in/pipe.png")
    absolute = str(Path("secret.png").absolute())
    files = ("none.png", "../secret.png", "link.png", "words.png", "dark.png", "pipe.png", absolute)
    table = "code,name,picture\n" + "".join(f"{n},Cough {n},{name}\n" for n, name in enumerate(files))
    done = run(table + "9,Cough,knee.png\n")
    assert done.return_value == 3
    assert [row["source_code"] for row in rows("out.csv")] == ["9"]
    assert "7 rows were skipped" in done.stderr
    assert "line 2: its file cannot be used: none.png cannot be read: No such file" in done.stderr
    assert "line 3: its file cannot be used: ../secret.png is not in the folder of the input" in done.stderr
    assert "line 4: its file cannot be used: link.png is not in the folder of the" in done.stderr
    assert "line 5: its file cannot be used: words.png is no image, PDF or recording" in done.stderr
    assert "line 6: its file cannot be used: dark.png is image/gif, and gemini:" in done.stderr
    assert sent_with_files(fake) == [f"Cough{PICTURE}"]


def test_a_page_of_a_dictionary_goes_with_its_terms(run: Run, fake: FakeProviders) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    Path("in/dictionary.pdf").write_bytes(pdf("GLUC is glucose", "NA is sodium"))
    pages = {"NA": 2, "K": 2, "X": 3}
    lines = (f"{name},dictionary.pdf#page={page}\n" for name, page in pages.items())
    table = f"name,picture\n{''.join(lines)}"
    done = run(table)
    page = media_text("application/pdf", Part.pdf("in/dictionary.pdf", page=2).data)
    assert sent_with_files(fake) == sorted([f"NA{page}", f"K{page}"])
    assert done.return_value == 3
    assert "line 4: its file cannot be used: dictionary.pdf has 2 pages, and no page 3" in done.stderr


def test_a_file_that_the_provider_rejects_is_left_out_and_the_run_goes_on(
    run: Run, fake: FakeProviders
) -> None:
    Path("in/odd.png").write_bytes(png(6))
    error = {"error": {"code": 400, "message": "Unable to process input image", "status": "INVALID_ARGUMENT"}}
    fake.poison(media_text("image/png", png(6)), Fault(400, json.dumps(error)))
    done = run("code,name,picture\n1,Cough,odd.png\n2,zzzz qqqq,knee.png\n")
    assert done.return_value == 0
    assert len(rows("out.csv")) == 2
    assert (
        "warning: terms were searched without odd.png: gemini:gemini-embedding-2 refuses it (HTTP 400)"
        in done.stderr
    )
    assert f"zzzz qqqq{PICTURE}" in sent_with_files(fake)


def test_a_model_that_reads_text_only_is_named(
    run: Run, sample_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    with pytest.raises(
        ConfigurationError, match="--part-column cannot be used: local:all-MiniLM-L6-v2 reads"
    ):
        run("code,name,picture\n1,Cough,knee.png\n")


def test_python_maps_with_files_too(gemini_database: str, fake: FakeProviders, tmp_path: Path) -> None:
    path = tmp_path / "knee.png"
    path.write_bytes(png(2))
    engine = database_engine(gemini_database)
    with session_scope(engine) as session:
        mapped, gone = map_terms(
            session,
            [
                SourceTerm(name="zzzz qqqq", files=(str(path),)),
                SourceTerm(name="zzzz qqqq", files=(str(tmp_path / "none.png"),)),
            ],
        )
    engine.dispose()
    assert OSTEOARTHRITIS in [candidate.concept_id for candidate in mapped.candidates]
    assert OSTEOARTHRITIS not in [candidate.concept_id for candidate in gone.candidates]
    assert from_json(to_json(mapped)) == mapped
