"""omop-emb search with pictures, PDF pages and recordings, in a space of Gemini."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from omop_emb import EmbeddingClient, EmbeddingInterface, OmopEmbError, Part
from omop_emb.database import session_scope
from omop_emb.errors import ConfigurationError, InputError
from tests.conftest import NewDatabase, as_url
from tests.fake_providers import FakeProviders, media_text
from tests.media_files import pdf, png, wav

Run = Callable[..., Result]
PUMP, HEART, PLAIN = 4030875, 4217142, 316866


@pytest.fixture(scope="module")
def gemini_database(
    server_conninfo: str, migrated_template: str, new_database: NewDatabase, fake_server: FakeProviders
) -> Iterator[str]:
    """A database whose active space is of gemini-embedding-2, with a pump and its picture in it."""
    with new_database(migrated_template) as name, pytest.MonkeyPatch.context() as monkeypatch:
        url = as_url(server_conninfo, dbname=name)
        monkeypatch.setenv("OMOP_EMB_DATABASE_URL", url)
        fake_server.reset()
        fake_server.point_to(monkeypatch)
        client = EmbeddingClient("gemini:gemini-embedding-2", dimensions=768, warn=False)
        with session_scope() as session:
            EmbeddingInterface(client).embed_and_upsert_concepts(
                session=session,
                index_type="flat",
                concept_ids=[PUMP, HEART, PLAIN],
                concept_texts=[
                    ["Infusion pump", Part.image(png(2))],
                    "Heart structure",
                    "Hypertensive disorder",
                ],
            )
        yield url


@pytest.fixture
def run(gemini_database: str, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command beside pump.png; errors are raised."""
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", gemini_database)
    monkeypatch.chdir(tmp_path)
    Path("pump.png").write_bytes(png(2))

    def run(*arguments: str) -> Result:
        command = import_module("omop_emb.cli.search").command
        result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return run


def sent(fake: FakeProviders) -> list[str]:
    return [text for call in fake.calls for text in call.texts]


def test_a_picture_and_a_term_are_one_query(run: Run, fake: FakeProviders) -> None:
    done = run("Infusion pump", "--image", "pump.png", "--any", "-k", "2", "--format", "json")
    hits = json.loads(done.stdout)
    assert [(hit["query"], hit["rank"]) for hit in hits] == [("Infusion pump + pump.png", n) for n in (1, 2)]
    assert (hits[0]["concept_id"], hits[0]["similarity"]) == (PUMP, pytest.approx(1, abs=1e-3))
    assert sent(fake) == [f"Infusion pump{media_text('image/png', png(2))}"]


def test_several_files_are_one_query_or_a_mean(run: Run, fake: FakeProviders) -> None:
    Path("dictated.wav").write_bytes(wav(1))
    files = ("--image", "pump.png", "--file-part", "dictated.wav")
    done = run(*files, "--any", "-k", "1", "--format", "json")
    assert json.loads(done.stdout)[0]["query"] == "pump.png + dictated.wav"
    picture, recording = media_text("image/png", png(2)), media_text("audio/wav", wav(1))
    assert sent(fake) == [picture + recording]
    fake.calls.clear()
    run(*files, "--combine", "mean", "--any")
    assert sorted(sent(fake)) == sorted([picture, recording])


def test_a_page_of_a_pdf_is_named_after_the_file(run: Run, fake: FakeProviders) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed")
    Path("dictionary.pdf").write_bytes(pdf("GLUC is glucose", "NA is sodium"))
    page = Part.pdf("dictionary.pdf", page=2).data
    run("NA", "--file-part", "dictionary.pdf#page=2", "--any")
    Path("odd#page=2").write_bytes(png(3))
    run("--file-part", "odd#page=2", "--any")
    assert sent(fake) == [f"NA{media_text('application/pdf', page)}", media_text("image/png", png(3))]
    with pytest.raises(InputError, match=r"dictionary\.pdf has 2 pages, and no page 3"):
        run("--file-part", "dictionary.pdf#page=3")


def test_how_vectors_are_searched_can_be_said_and_is_explained(run: Run) -> None:
    done = run("--image", "pump.png", "--dense", "--metric", "l2", "--exact", "--explain", "--any")
    assert "method: " in done.stderr
    assert "Infusion pump" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("heart", "--combine", "mean"), "--combine is for files"),
        (("--image", "pump.png", "--file", "terms.txt"), "--file has many queries"),
        (("--image", "pump.png", "--site", "north"), "--site chooses approvals and a ranker"),
        (("--image", "pump.png", "--recall", "0.9"), "add --dense"),
        (("--image", "pump.png", "--prefer", "brand=no"), "--prefer changes the ranker's order"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(click.UsageError, match=expected):
        run(*arguments)


def test_a_file_that_is_none_is_refused_before_anything_is_sent(run: Run, fake: FakeProviders) -> None:
    Path("terms.png").write_text("GLUC,glucose\n")
    for name, expected in (
        ("terms.png", r"^terms\.png is no image, PDF or recording$"),
        ("none.png", r"^none\.png cannot be read: No such file or directory$"),
    ):
        with pytest.raises(InputError, match=expected):
            run("--image", name)
    assert sent(fake) == []


def test_a_model_that_reads_text_only_is_named(
    run: Run, sample_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    with pytest.raises(OmopEmbError) as caught:
        run("--image", "pump.png")
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value).startswith("local:all-MiniLM-L6-v2 reads text only: images, PDF pages and")
