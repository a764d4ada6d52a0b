"""Build faults: what is committed when a provider fails during a build, and what the next build does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from omop_emb import EmbeddingClient, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import (
    ConfigurationError,
    OmopEmbError,
    ProviderError,
    ProviderRefusedError,
    ProviderUnavailableError,
    QuotaExhaustedError,
)
from omop_emb.indexing.report import BuildReport
from omop_emb.providers import make_provider
from omop_emb.providers.base import Provider
from omop_emb.providers.retrying import RetryPolicy
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.fake_providers import Call, FakeProviders, Fault, fake_vector
from tests.small_vocabulary import ConceptRow, SmallVocabulary, stored_vectors
from tests.tiny_models import WORDS, tiny_folder

CONCEPTS, CHUNK, BATCH = 24, 6, 3
REMOTE = ("gemini:gemini-embedding-001", "ollama:nomic-embed-text", "openai:served-model")
NAN = float("nan")
PATIENCE = RetryPolicy(timeout_seconds=10, max_attempts=2, deadline_seconds=30, first_wait_seconds=0.01)
NAMES = [f"heart {'fever ' * number}attack" for number in range(CONCEPTS)]

QUOTA = json.dumps({"error": {"details": [{"violations": [{"quotaId": "RequestsPerDay"}]}]}})
FAULTS: dict[str, tuple[Fault, type[OmopEmbError], str]] = {
    "401": (Fault(401, "{}"), ProviderRefusedError, "does not accept the key"),
    "quota of the day": (Fault(429, QUOTA), QuotaExhaustedError, "nothing that was done is lost"),
    "503": (Fault(503, "{}"), ProviderUnavailableError, "HTTP 503"),
    "a web page": (Fault(body="<html></html>"), ProviderUnavailableError, "something other than embeddings"),
    "cut within the body": (Fault(how="cut within"), ProviderUnavailableError, "broke"),
    "hangs": (Fault(how="hang"), ProviderUnavailableError, "does not answer in time"),
    "too few vectors": (Fault(change=lambda rows: rows[1:]), ProviderError, "0 vectors for 1 texts"),
    "other dimensions": (
        Fault(change=lambda rows: [row[:5] for row in rows]),
        ProviderError,
        "5 dimensions, not",
    ),
    "NaN": (
        Fault(change=lambda rows: [[NAN] * len(row) for row in rows]),
        ProviderError,
        "a plain test word fails too",
    ),
}


@pytest.fixture(scope="module")
def remote(fake_server: FakeProviders) -> dict[str, Provider]:
    """Each remote provider, its client made once and its batches small."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake_server.point_to(monkeypatch)
        found = {}
        for model in REMOTE:
            provider = make_provider(model, dimensions=64)
            provider.limits = replace(provider.limits, batch_texts=BATCH)
            found[model] = provider
    return found


@pytest.fixture(autouse=True)
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    small = SmallVocabulary(engine, tmp_path)
    small.load(*(ConceptRow(number + 1, name) for number, name in enumerate(NAMES)))
    return small


def build(
    engine: Engine, provider: Provider, patience: RetryPolicy = PATIENCE, limit: int | None = None
) -> tuple[BuildReport, int]:
    """A build's report, and how many texts the model answered for."""
    client = EmbeddingClient(
        provider=provider,
        dimensions=None if provider.name == "local" else 64,
        bulk_retries=patience,
        query_retries=patience,
        concurrency=1,
        document_prefix="",
        query_prefix="",
    )
    report = build_with(engine, client, index_type=IndexType.FLAT, chunk_texts=CHUNK, limit=limit)
    return report, client.usage.texts


def rows(engine: Engine) -> dict[str, list[float]]:
    """Name -> vector, of the only space."""
    with engine.connect() as connection:
        driver = driver_connection(connection)
        (space,) = registry.all_spaces(driver)
        found = stored_vectors(driver, space.space_id).items()
    return {text: np.frombuffer(value[4:], ">f2").tolist() for (_, _, text), value in found}


def is_active(engine: Engine) -> bool:
    with engine.connect() as connection:
        (space,) = registry.all_spaces(driver_connection(connection))
        return space.is_active


@contextmanager
def failing_after(fake: FakeProviders, requests: int, fault: Fault) -> Iterator[None]:
    """Embedding requests are answered well so often, and then no more."""
    begun = len(fake.embedding_calls)
    fake.fault = lambda _call: fault if len(fake.embedding_calls) - begun > requests else None
    yield
    fake.fault = lambda _call: None


@pytest.mark.parametrize("model", REMOTE)
@pytest.mark.parametrize("name", FAULTS)
def test_a_failing_provider_leaves_complete_chunks_and_the_next_build_does_the_rest(
    engine: Engine, fake: FakeProviders, remote: dict[str, Provider], model: str, name: str
) -> None:
    fault, error, message = FAULTS[name]
    patience = replace(PATIENCE, timeout_seconds=0.6) if fault.how == "hang" else PATIENCE
    with failing_after(fake, 5, fault), pytest.raises(error, match=message) as caught:
        build(engine, remote[model], patience)
    assert not any(text in str(caught.value) for text in NAMES)
    answered = {text for call in fake.embedding_calls[:5] for text in call.texts}
    kept = rows(engine)
    assert 0 < len(kept) < CONCEPTS
    assert len(kept) % CHUNK == 0
    assert set(kept) <= answered
    assert not is_active(engine)
    report, sent = build(engine, remote[model])
    assert sent == report.embedded == CONCEPTS - len(kept)
    found = rows(engine)
    assert sorted(found) == sorted(NAMES)
    assert kept.items() <= found.items()
    assert is_active(engine)
    for text, row in found.items():
        expected = np.array(fake_vector(text, 64))
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=2**-11)


def refusal(status: int, poison: str) -> Callable[[Call], Fault | None]:
    return lambda call: Fault(status, "{}") if poison in call.texts else None


def nan_for(poison: str) -> Callable[[Call], Fault | None]:
    def fault(call: Call) -> Fault:
        def spoil(rows: list[list[float]]) -> list[list[float]]:
            return [
                [NAN] * len(row) if text == poison else row
                for text, row in zip(call.texts, rows, strict=True)
            ]

        return Fault(change=spoil)

    return fault


POISONS = {"400": partial(refusal, 400), "500": partial(refusal, 500), "NaN": nan_for}


@pytest.mark.parametrize("model", REMOTE)
@pytest.mark.parametrize("fault", POISONS.values(), ids=POISONS)
def test_one_poisonous_text_is_skipped_and_tried_again_by_the_next_build(
    engine: Engine,
    fake: FakeProviders,
    remote: dict[str, Provider],
    model: str,
    fault: Callable[[str], Callable[[Call], Fault | None]],
) -> None:
    fake.fault = fault(NAMES[7])
    report, _ = build(engine, remote[model])
    check_that_one_is_missing(engine, report, NAMES[7])
    fake.fault = lambda _call: None
    report, sent = build(engine, remote[model])
    assert (sent, report.embedded, report.failed) == (1, 1, 0)
    assert sorted(rows(engine)) == sorted(NAMES)


def check_that_one_is_missing(engine: Engine, report: BuildReport, poison: str) -> None:
    assert (report.failed, report.embedded) == (1, CONCEPTS - 1)
    assert set(NAMES) - set(rows(engine)) == {poison}
    with engine.connect() as connection:
        reasons = connection.exec_driver_sql("select reason from omop_emb.build_failure").scalars().all()
    assert len(reasons) == 1
    assert poison not in reasons[0]


def test_a_poisonous_text_is_skipped_by_a_local_model_and_tried_again(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", max_tokens=40)
    vocabulary = SmallVocabulary(engine, tmp_path)
    vocabulary.load(*(ConceptRow(number + 1, name) for number, name in enumerate([*NAMES[:-1], "nil nil"])))
    report, _ = build(engine, make_provider(f"local:{folder}"))
    assert (report.failed, report.embedded) == (1, CONCEPTS - 1)
    assert sorted(rows(engine)) == sorted(NAMES[:-1])
    report, _ = build(engine, make_provider(f"local:{folder}"))
    assert (report.failed, report.embedded, report.unchanged) == (1, 0, CONCEPTS - 1)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "weights gone": lambda folder: (folder / "onnx/model.onnx").unlink(),
    "weights cut short": lambda folder: (folder / "onnx/model.onnx").write_bytes(b"\x08\x08\x12"),
    "tokenizer cut short": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_local_model_keeps_what_was_built_and_once_repaired_the_next_build_does_the_rest(
    engine: Engine, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = tiny_folder(tmp_path / "model", max_tokens=40)
    build(engine, make_provider(f"local:{folder}"), limit=10)
    kept = rows(engine)
    assert len(kept) == 10
    damage(folder)
    with pytest.raises(ConfigurationError):
        build(engine, make_provider(f"local:{folder}"))
    assert rows(engine).keys() == kept.keys()  # and there is one space, or rows() fails
    shutil.rmtree(folder)
    tiny_folder(folder, max_tokens=40)
    report, sent = build(engine, make_provider(f"local:{folder}"))
    assert sent == report.embedded == CONCEPTS - 10
    heart, fever, attack = (np.array(WORDS[word]) for word in ("heart", "fever", "attack"))
    for number, name in enumerate(NAMES):
        expected = heart + number * fever + attack
        np.testing.assert_allclose(rows(engine)[name], expected / np.linalg.norm(expected), atol=2**-11)


def test_the_command_reports_a_failure_in_one_line_and_resumes_at_its_next_run(
    engine: Engine, fake: FakeProviders, database_url: str
) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                Path(sysconfig.get_path("scripts")) / "omop-emb",
                *("index", "build", "--index-type", "flat", "--format", "json"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "OMOP_EMB_DATABASE_URL": database_url,
                "OMOP_EMB_MODEL": "openai:served-model",
                "OMOP_EMB_DIMENSIONS": "64",
            },
        )

    fake.always(Fault(429, QUOTA))
    stopped = run()
    errors = [line for line in stopped.stderr.splitlines() if line.startswith("error: ")]
    assert (stopped.returncode, stopped.stdout, len(errors)) == (1, "", 1)
    assert "run again when it is renewed" in errors[0]
    assert "Traceback" not in stopped.stderr
    assert not any(name in stopped.stderr for name in NAMES)
    fake.fault = refusal(400, NAMES[7])
    partly = run()
    assert partly.returncode == 3
    assert json.loads(partly.stdout)[0]["failed"] == 1
    assert "the next index build tries them again" in partly.stderr
    fake.fault = lambda _call: None
    finished = run()
    assert (finished.returncode, json.loads(finished.stdout)[0]["embedded"]) == (0, 1)
