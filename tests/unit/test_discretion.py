"""No key and no text in any log line, error, traceback or repr, whatever a provider answers."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence
from pathlib import Path

import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import OmopEmbError
from omop_emb.providers.base import Provider
from omop_emb.providers.retrying import RetryPolicy
from tests.fake_providers import KEY, FakeProviders, Fault
from tests.tiny_models import tiny_folder
from tests.unit.conftest import REMOTE

RETRIES = RetryPolicy(timeout_seconds=10, max_attempts=2, deadline_seconds=20, first_wait_seconds=0.01)
SECRET = "jane doe dysphagia"  # noqa: S105 - a patient's words, no password
ECHO = json.dumps({"error": {"message": f"cannot embed {SECRET!r} with {KEY}", "status": "X", "code": 1}})
FAULTS = {
    "nothing": None,
    **{str(status): Fault(status, ECHO) for status in (400, 401, 403, 404, 413, 429, 500)},
    "echo in place of vectors": Fault(body=ECHO),
    "echo that is no JSON": Fault(body=f"{SECRET} {KEY}"),
    "words in place of numbers": Fault(body=json.dumps({"embeddings": [[SECRET]], "data": [SECRET]})),
    "cut within": Fault(how="cut within"),
    "zeros": Fault(change=lambda rows: [[0.0] * len(row) for row in rows]),
}


def told_by(client: EmbeddingClient, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that a client lets out when it embeds, as DEBUG shows it."""
    told = []
    for role in EmbeddingRole:
        try:
            client.embeddings([SECRET, "fever"], embedding_role=role)
        except OmopEmbError as error:
            told += [repr(error), *traceback.format_exception(error)]
        for part in stream(client, role):
            told.append(str(part))
    told += [repr(client), str(client.usage), repr(vars(client)), repr(client.embedding_role_prefixes())]
    return "".join([*told, caplog.text, *(str(vars(record)) for record in caplog.records)])


def stream(client: EmbeddingClient, role: EmbeddingRole) -> Sequence[object]:
    try:
        return [part.failures for part in client.embed_stream([SECRET, "fever"], embedding_role=role)]
    except OmopEmbError as error:
        return traceback.format_exception(error)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("name", REMOTE)
def test_a_remote_provider_lets_nothing_out(
    name: str,
    fault: Fault | None,
    fake: FakeProviders,
    remote_providers: dict[str, Provider],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = EmbeddingClient(
        provider=remote_providers[name], bulk_retries=RETRIES, query_retries=RETRIES, concurrency=1
    )
    fake.fault = lambda _call: fault
    told = told_by(client, caplog)
    assert SECRET not in told
    assert KEY not in told
    assert any(SECRET in text for call in fake.calls for text in call.texts)


@pytest.mark.parametrize("kind", ["good", "failing session", "nan"])
def test_a_local_model_lets_nothing_out(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    words = {"[PAD]": (1.0, 1.0, 1.0), "[UNK]": (1.0, 2.0, 1.0), "fever": (1.0, 0.0, 0.0)}
    if kind == "nan":
        words["jane"] = (float("nan"), 0.0, 0.0)
    folder = tiny_folder(tmp_path / "m", words=words)
    if kind == "failing session":
        vocabulary = folder / "tokenizer.json"
        vocabulary.write_text(vocabulary.read_text().replace('"odd"', '"jane"'))
    told = told_by(EmbeddingClient(f"local:{folder}"), caplog)
    assert SECRET not in told
    assert ("text 0 cannot be embedded" in told) is (kind != "good")
