"""Gemini's Batch API on the wire: the real SDK against a local server."""

from __future__ import annotations

import json
import re
import tempfile
from typing import Any

import numpy as np
import pytest

from omop_emb import EmbeddingClient
from omop_emb.errors import ConfigurationError, ProviderError, ProviderUnavailableError, RateLimitError
from omop_emb.providers.base import JobFailedError, JobState
from omop_emb.providers.embedding_jobs import EmbeddingJobs, text_key
from omop_emb.providers.retrying import RetryPolicy
from tests.fake_gemini_jobs import CANCELLED, DONE, EXPIRED, FAILED
from tests.fake_providers import KEY, FakeProviders, Fault, fake_vector

BRIEF = RetryPolicy(timeout_seconds=2, max_attempts=2, deadline_seconds=5, first_wait_seconds=0.01)
TEXTS = ["Hypertension", "Diabète", "Asthma"]


def client(model: str = "gemini-embedding-001", **options: Any) -> EmbeddingClient:
    options.setdefault("dimensions", 768)
    return EmbeddingClient(f"gemini:{model}", bulk_retries=BRIEF, **options)


@pytest.fixture(scope="module")
def shared() -> EmbeddingClient:
    """A client whose SDK is created once."""
    return client()


@pytest.fixture
def jobs(fake: FakeProviders, shared: EmbeddingClient) -> EmbeddingJobs:
    return shared.batch_jobs()


def unit(text: str, dimensions: int = 768) -> list[float]:
    row = np.array(fake_vector(text, dimensions))
    return list(row / np.linalg.norm(row))


def test_a_job_is_a_file_of_keyed_requests_with_the_task_type_of_documents(fake: FakeProviders) -> None:
    name = client().batch_jobs().submit(TEXTS, label="ours")
    upload, lines, create = fake.calls
    assert upload.path == "/upload/v1/files"
    assert upload.headers["x-goog-upload-header-content-type"] == "application/jsonl"
    assert upload.headers["x-goog-api-key"] == KEY
    assert lines.path.startswith("/uploading/files/")
    assert create.path == "/v1/models/gemini-embedding-001:asyncBatchEmbedContent"
    assert create.body == {"batch": {"inputConfig": {"file_name": "files/up0"}, "displayName": "ours"}}
    assert fake.jobs.jobs[name].lines == [
        {
            "key": text_key(text).hex(),
            "request": {
                "content": {"parts": [{"text": text}]},
                "output_dimensionality": 768,
                "task_type": "RETRIEVAL_DOCUMENT",
            },
        }
        for text in TEXTS
    ]


def test_gemini_2_gets_prefixes_and_no_task_type_in_a_job_too(fake: FakeProviders) -> None:
    gemini = client("gemini-embedding-2", dimensions=None, document_prefix="title: none | text: ")
    name = gemini.batch_jobs().submit(["Asthma"], label="ours")
    assert fake.jobs.jobs[name].lines == [
        {
            "key": text_key("Asthma").hex(),
            "request": {"content": {"parts": [{"text": "title: none | text: Asthma"}]}},
        }
    ]
    collected = gemini.batch_jobs().collect(name, ["Asthma"])
    np.testing.assert_allclose(collected.vectors, [unit("title: none | text: Asthma", 3072)], atol=1e-6)


def test_results_are_collected_by_key_normalised_and_counted(fake: FakeProviders) -> None:
    gemini = client()
    jobs = gemini.batch_jobs()
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.finishes = False
    assert jobs.state(name) is JobState.PENDING
    fake.jobs.finish()
    assert jobs.state(name) is JobState.DONE
    collected = jobs.collect(name, TEXTS[::-1])
    assert collected.positions.tolist() == [0, 1, 2]
    np.testing.assert_allclose(collected.vectors, [unit(text) for text in TEXTS[::-1]], atol=1e-6)
    assert (gemini.usage.texts, gemini.usage.reported_tokens, gemini.usage.batch_tokens) == (3, 15, 15)
    assert gemini.usage.cost(0.15, 0.075) == pytest.approx(15 * 0.075 / 1e6)
    assert not fake.embedding_calls


def spoilt(kind: str) -> Any:
    def spoil(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        bad = text_key("Asthma").hex()
        rest = [line for line in lines if line["key"] != bad]
        values = {"short": [1.0] * 5, "zeros": [0.0] * 768, "not a number": [float("nan")] * 768}
        if kind == "lacks":
            return rest
        if kind == "error":
            return [*rest, {"key": bad, "error": {"code": 13, "message": "internal"}}]
        return [*rest, {"key": bad, "response": {"embedding": {"values": values[kind]}}}]

    return spoil


@pytest.mark.parametrize("kind", ["lacks", "error", "short", "zeros", "not a number"])
def test_texts_without_a_usable_result_are_embedded_at_once(
    fake: FakeProviders, jobs: EmbeddingJobs, kind: str
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.spoil = spoilt(kind)
    fake.calls.clear()
    collected = jobs.collect(name, TEXTS)
    assert [call.texts for call in fake.embedding_calls] == [["Asthma"]]
    np.testing.assert_allclose(collected.vectors, [unit(text) for text in TEXTS], atol=1e-6)


def test_a_text_that_fails_both_in_the_job_and_at_once_is_a_failure(
    fake: FakeProviders, jobs: EmbeddingJobs
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.spoil = spoilt("error")
    fake.poison("Asthma", Fault(400, json.dumps({"error": {"code": 400, "message": "bad"}})))
    collected = jobs.collect(name, TEXTS)
    assert collected.positions.tolist() == [0, 1]
    assert list(collected.failures) == [2]


def test_a_job_without_any_usable_result_collects_nothing(fake: FakeProviders, jobs: EmbeddingJobs) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.spoil = lambda lines: [{"key": "another", "response": {}}, *lines[:0]]
    with pytest.raises(JobFailedError, match=r"^batches/j0 answered none of its texts$"):
        jobs.collect(name, TEXTS)
    assert not fake.embedding_calls


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": 13, "message": "Asthma"}, "3 times INTERNAL"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "Asthma"}, "3 times INVALID_ARGUMENT"),
        ({"code": 429, "message": "Asthma"}, "3 times code 429"),
    ],
)
def test_a_job_whose_texts_all_failed_says_with_which_code(
    fake: FakeProviders, jobs: EmbeddingJobs, error: dict[str, Any], told: str
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.spoil = lambda lines: [{"key": line["key"], "error": error} for line in lines]
    with pytest.raises(JobFailedError, match=rf"answered none of its texts \({told}\)$") as caught:
        jobs.collect(name, TEXTS)
    assert "Asthma" not in str(caught.value)


REASONS: dict[str, tuple[str, object, str]] = {
    "unreadable file": (
        FAILED,
        {"code": 3, "message": "Failed to parse line 7: Asthma"},
        "failed (INVALID_ARGUMENT; the file of texts cannot be read)",
    ),
    "quota": (
        FAILED,
        {"code": 8, "message": "Quota exceeded for Asthma"},
        "failed (RESOURCE_EXHAUSTED; a quota is used up, or billing is not set up)",
    ),
    "too large": (
        FAILED,
        {"code": 3, "message": "Request payload size exceeds the limit"},
        "failed (INVALID_ARGUMENT; the file of texts is too large)",
    ),
    "rights": (
        FAILED,
        {"code": 7, "status": "PERMISSION_DENIED", "message": "The caller lacks permission"},
        "failed (PERMISSION_DENIED; the key is not allowed to do this)",
    ),
    "model": (
        FAILED,
        {"code": 5, "message": "models/gemini-embedding-001 does not exist"},
        "failed (NOT_FOUND; the model or a file does not exist)",
    ),
    "its own": (FAILED, {"code": 13, "message": "Asthma"}, "failed (INTERNAL)"),
    "only words": (FAILED, {"message": "Internal error"}, "failed (the service itself failed)"),
    "none": (FAILED, None, "failed"),
    "not an error": (FAILED, "Asthma", "failed"),
    "expired": (EXPIRED, None, "expired: Google gives up after two days"),
    "cancelled": (CANCELLED, {"code": 1, "message": "by Asthma"}, "was cancelled (CANCELLED)"),
}


@pytest.mark.parametrize(("state", "error", "told"), REASONS.values(), ids=REASONS)
def test_the_reason_of_a_failed_job_is_told_without_the_service_s_words(
    fake: FakeProviders, jobs: EmbeddingJobs, state: str, error: Any, told: str
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.finish(state)
    fake.jobs.jobs[name].error = error
    assert jobs.failure_reason(name) == f"batches/j0 {told}"


def test_a_job_that_is_not_known_any_more_says_so(fake: FakeProviders, jobs: EmbeddingJobs) -> None:
    assert jobs.failure_reason("batches/nowhere") == "batches/nowhere is no longer known to Google"


@pytest.mark.parametrize("state", [DONE, FAILED, CANCELLED, EXPIRED])
def test_both_files_of_a_job_are_deleted(fake: FakeProviders, jobs: EmbeddingJobs, state: str) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.finish(state)
    jobs.delete_files(name)
    assert fake.jobs.deleted == ["files/up0", *(["files/ofj0"] if state == DONE else [])]
    jobs.delete_files(name)  # there is nothing left to delete
    jobs.delete_files("batches/nowhere")


def test_a_file_that_cannot_be_deleted_is_logged_and_stops_nothing(
    fake: FakeProviders, jobs: EmbeddingJobs, caplog: pytest.LogCaptureFixture
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.fault = lambda call: Fault(403, "{}") if call.method == "DELETE" else None
    jobs.delete_files(name)
    assert "files of batches/j0 were not deleted at the provider: gemini:gemini-embedding-001" in caplog.text


@pytest.mark.parametrize(
    ("status", "deleted"), [(400, ["files/up0"]), (403, ["files/up0"]), (429, ["files/up0"]), (503, [])]
)
def test_a_file_for_which_there_is_no_job_is_deleted(
    fake: FakeProviders, jobs: EmbeddingJobs, status: int, deleted: list[str]
) -> None:
    fake.fault = lambda call: Fault(status, "{}") if re.search("asyncBatch|batches", call.path) else None
    with pytest.raises(ProviderError):
        jobs.submit(TEXTS, label="ours")
    assert fake.jobs.deleted == deleted


@pytest.mark.parametrize("state", [FAILED, CANCELLED, EXPIRED])
def test_failed_cancelled_and_expired_jobs_have_failed(
    fake: FakeProviders, jobs: EmbeddingJobs, state: str
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.finish(state)
    assert jobs.state(name) is JobState.FAILED


def test_a_job_that_the_service_has_deleted_has_failed(fake: FakeProviders) -> None:
    assert client().batch_jobs().state("batches/nowhere") is JobState.FAILED


def test_only_an_unfinished_job_is_cancelled_on_the_wire(fake: FakeProviders, jobs: EmbeddingJobs) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.jobs.finishes = False
    jobs.cancel(name)
    assert fake.calls[-1].path == f"/v1/{name}:cancel"
    assert jobs.state(name) is JobState.FAILED
    fake.calls.clear()
    jobs.cancel(name)
    assert not any(call.path.endswith(":cancel") for call in fake.calls)


def test_a_job_whose_name_was_lost_is_found_and_not_started_twice(fake: FakeProviders) -> None:
    lost = [Fault(how="cut before")]
    fake.fault = lambda call: lost.pop() if lost and "asyncBatch" in call.path else None
    name = client().batch_jobs().submit(TEXTS, label="ours")
    assert list(fake.jobs.jobs) == [name]
    assert client().batch_jobs().find_by_label("ours") == name
    assert client().batch_jobs().find_by_label("another") is None


def test_refused_jobs_raise_the_errors_of_refused_texts(fake: FakeProviders) -> None:
    fake.jobs.max_jobs = 0
    with pytest.raises(RateLimitError, match="asks for fewer requests"):
        client().batch_jobs().submit(TEXTS, label="ours")
    fake.always(Fault(503, "{}"))
    with pytest.raises(ProviderUnavailableError, match=r"HTTP 503\) \(tried 2 times") as caught:
        client().batch_jobs().submit(TEXTS, label="ours")
    assert KEY not in str(caught.value)


FAULTS = {
    "500": Fault(500, "{}"),
    "503 page": Fault(503, "<html>busy</html>"),
    "429": Fault(429, "{}", {"Retry-After": "0.01"}),
    "cut before": Fault(how="cut before"),
    "cut within": Fault(how="cut within"),
    "a web page": Fault(body="<html>a proxy\nof the hospital</html>"),
}
PLACES = {
    "begins to upload": "/upload/v1/files",
    "submits": ":asyncBatchEmbedContent",
    "asks": "/v1/batches/j0",
    "downloads": ":download",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("path", PLACES.values(), ids=PLACES)
def test_a_job_survives_a_passing_fault(
    fake: FakeProviders, jobs: EmbeddingJobs, path: str, fault: Fault
) -> None:
    pending = [fault]
    fake.fault = lambda call: pending.pop() if pending and path in call.path else None
    name = jobs.submit(TEXTS, label="ours")
    assert jobs.state(name) is JobState.DONE
    collected = jobs.collect(name, TEXTS)
    assert pending == []
    assert list(fake.jobs.jobs) == [name]
    np.testing.assert_allclose(collected.vectors, [unit(text) for text in TEXTS], atol=1e-6)
    assert not fake.embedding_calls


@pytest.mark.parametrize("path", ["/v1/batches/j0", ":download"], ids=["asks", "downloads"])
def test_a_lasting_proxy_page_is_an_error_and_not_a_failed_job(
    fake: FakeProviders, jobs: EmbeddingJobs, path: str
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    fake.fault = lambda call: FAULTS["a web page"] if path in call.path else None
    with pytest.raises(ProviderUnavailableError, match="something other than embeddings"):
        jobs.collect(name, TEXTS)


def test_a_job_whose_results_were_deleted_collects_nothing(fake: FakeProviders, jobs: EmbeddingJobs) -> None:
    name = jobs.submit(TEXTS, label="ours")
    gone = Fault(404, json.dumps({"error": {"code": 404, "message": "none", "status": "NOT_FOUND"}}))
    fake.fault = lambda call: gone if ":download" in call.path else None
    with pytest.raises(JobFailedError, match="answered none of its texts"):
        jobs.collect(name, TEXTS)


def test_a_full_disk_is_reported_and_the_job_can_be_collected_later(
    fake: FakeProviders, jobs: EmbeddingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = jobs.submit(TEXTS, label="ours")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/dev/null")
        with pytest.raises(ProviderError, match=r"cannot be stored in /dev/null: .*set TMPDIR"):
            jobs.collect(name, TEXTS)
    assert len(jobs.collect(name, TEXTS).positions) == 3


def test_providers_without_batch_jobs_refuse_in_one_line(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("ollama:nomic-embed-text", "openai:m", "local:all-MiniLM-L6-v2"):
        with pytest.raises(ConfigurationError, match=f"{model} has no batch API: leave --batch-api out"):
            EmbeddingClient(model).batch_jobs()
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    with pytest.raises(ConfigurationError, match="no batch API on Vertex AI"):
        client().batch_jobs()
