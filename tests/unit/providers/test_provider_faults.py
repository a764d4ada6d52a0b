"""Provider failures: what the user reads, what is kept, what a re-run does."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors
from omop_emb.errors import (
    InvalidAnswerError,
    ProviderError,
    ProviderRefusedError,
    ProviderUnavailableError,
    QuotaExhaustedError,
    RateLimitError,
)
from omop_emb.providers.base import Provider
from omop_emb.providers.retrying import RetryPolicy
from tests.fake_providers import KEY, PROFILE_ADDRESSES, PROFILE_KEYS, FakeProviders, Fault, fake_vector
from tests.unit.conftest import PROFILED, REMOTE

DOCUMENT = EmbeddingRole.DOCUMENT
# Only what hangs or drips waits for the timeout; a short one for all would fail on a busy machine.
RETRIES = RetryPolicy(timeout_seconds=10, max_attempts=3, deadline_seconds=30, first_wait_seconds=0.01)
QUICK_RETRIES = replace(RETRIES, timeout_seconds=0.1)
WORDS = "words of a patient"
NAN, INFINITY = float("nan"), float("inf")


@dataclass(frozen=True)
class Case:
    """A fault, what happens if it comes once, and what the user reads if it stays.

    Attributes:
        once: None where the texts are embedded all the same; else the error.
        always: the error that is raised if it stays; None where it does no harm.
        message: what the error's text matches.
        requests: how many are sent if it stays; None where the number does not matter.
    """

    fault: Fault
    once: type[ProviderError] | None
    always: type[ProviderError] | None
    message: str = ""
    requests: int | None = None

    @property
    def waits_for_the_timeout(self) -> bool:
        return self.fault.how in ("hang", "drip")


def error(message: str, **more: object) -> str:
    return json.dumps({"error": {"code": 0, "message": f"{message} ({WORDS}; {KEY})", "status": "X", **more}})


QUOTA = error(
    "Quota exceeded", details=[{"violations": [{"quotaId": "EmbedContentRequestsPerDayPerProject"}]}]
)
RETRY_INFO = error(
    "slow down", details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.1s"}]
)
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"

CASES = {
    "400": Case(Fault(400, error("bad")), None, ProviderError, "a plain test word fails too", 2),
    "401": Case(
        Fault(401, error("who?")), ProviderRefusedError, ProviderRefusedError, "check .*(KEY|TOKEN)", 1
    ),
    "403": Case(Fault(403, error("no")), ProviderRefusedError, ProviderRefusedError, "and its rights", 1),
    "404": Case(Fault(404, error("none")), ProviderRefusedError, ProviderRefusedError, "was not found", 1),
    "408": Case(Fault(408, error("late")), None, ProviderUnavailableError, r"HTTP 408\) \(tried 3 times"),
    "413": Case(Fault(413, error("large")), None, ProviderError, "too large .*; a plain test word fails too"),
    "429": Case(
        Fault(429, error("slow")), None, RateLimitError, "fewer requests .* OMOP_EMB_REQUESTS_PER_MINUTE", 3
    ),
    "429 with Retry-After": Case(
        Fault(429, error("slow"), {"Retry-After": "0.1"}), None, RateLimitError, "fewer", 3
    ),
    "quota of the day": Case(
        Fault(429, QUOTA), QuotaExhaustedError, QuotaExhaustedError, "nothing that was done is lost", 1
    ),
    "500": Case(Fault(500, error("oops")), None, ProviderUnavailableError, r"not available \(HTTP 500\)"),
    "503": Case(Fault(503, error("busy")), None, ProviderUnavailableError, r"not available \(HTTP 503\)"),
    "502 with a web page": Case(
        Fault(502, HTML), None, ProviderUnavailableError, r"not available \(HTTP 502\)"
    ),
    "cut before the answer": Case(
        Fault(how="cut before"), None, ProviderUnavailableError, "the connection .* broke"
    ),
    "cut within the body": Case(
        Fault(how="cut within"), None, ProviderUnavailableError, "the connection .* broke"
    ),
    "cut after the body": Case(Fault(how="cut after"), None, None),
    "hangs": Case(Fault(how="hang"), None, ProviderUnavailableError, "does not answer in time"),
    "drips": Case(Fault(how="drip"), None, ProviderUnavailableError, "does not answer in time"),
    "no JSON": Case(
        Fault(body='{"embeddings": [['), None, ProviderUnavailableError, "something other than embeddings"
    ),
    "a web page": Case(Fault(body=HTML), None, ProviderUnavailableError, "something other than embeddings"),
    "other JSON": Case(
        Fault(body='"text"'), None, ProviderError, "something other than embeddings|returned 0 vectors"
    ),
    "too few vectors": Case(
        Fault(change=lambda rows: rows[1:]), None, ProviderError, "returned 1 vectors for 2 texts"
    ),
    "too many vectors": Case(
        Fault(change=lambda rows: [*rows, rows[0]]), None, ProviderError, "3 vectors for 2 texts"
    ),
    "no vectors": Case(Fault(change=lambda rows: []), None, ProviderError, "returned 0 vectors for 2 texts"),
    "other dimensions": Case(
        Fault(change=lambda rows: [row[:5] for row in rows]),
        InvalidAnswerError,
        InvalidAnswerError,
        "5 dimensions",
        1,
    ),
    "uneven vectors": Case(
        Fault(change=lambda rows: [rows[0][:5], *rows[1:]]), None, InvalidAnswerError, "5 dimensions, not"
    ),
    "empty vectors": Case(
        Fault(change=lambda rows: [[] for _ in rows]), None, ProviderError, "not vectors of one length"
    ),
    "NaN": Case(
        Fault(change=lambda rows: [[NAN] * len(row) for row in rows]), None, ProviderError, "zeros or NaN"
    ),
    "infinity": Case(
        Fault(change=lambda rows: [[INFINITY, *row[1:]] for row in rows]), None, ProviderError, "zeros or NaN"
    ),
    "zeros": Case(
        Fault(change=lambda rows: [[0.0] * len(row) for row in rows]), None, ProviderError, "zeros or NaN"
    ),
}


@pytest.fixture(params=[*REMOTE, *PROFILED])
def provider(
    request: pytest.FixtureRequest, remote_providers: dict[str, Provider], fake: FakeProviders
) -> Provider:
    return remote_providers[request.param]


@pytest.fixture
def client(provider: Provider, fake: FakeProviders) -> EmbeddingClient:
    return make_client(provider, fake)


def make_client(
    provider: Provider, fake: FakeProviders, policy: RetryPolicy = RETRIES, concurrency: int = 1
) -> EmbeddingClient:
    """A client that is soon out of patience, and knows its model's dimensions where asking sends no text."""
    client = EmbeddingClient(
        provider=provider, bulk_retries=policy, query_retries=policy, concurrency=concurrency
    )
    if provider.name in ("gemini", "ollama"):
        assert client.dimensions > 100
    fake.calls.clear()
    return client


def expected(client: EmbeddingClient, texts: list[str]) -> Vectors:
    rows = np.array([fake_vector(text, 3072 if client.model.startswith("gemini") else 768) for text in texts])
    scaled: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_passing_fault_is_retried_or_raised(provider: Provider, fake: FakeProviders, case: Case) -> None:
    policy = replace(QUICK_RETRIES, max_attempts=20) if case.waits_for_the_timeout else RETRIES
    client = make_client(provider, fake, policy)
    if case.once is InvalidAnswerError:
        assert client.dimensions > 100
    fake.faults(case.fault)
    if case.once is None:
        rows = client.embeddings([WORDS, "b"], embedding_role=DOCUMENT)
        np.testing.assert_allclose(rows, expected(client, [WORDS, "b"]), atol=1e-6)
    else:
        with pytest.raises(case.once):
            client.embeddings([WORDS, "b"], embedding_role=DOCUMENT)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_lasting_fault_is_one_line_and_leaves_nothing_behind(
    provider: Provider, fake: FakeProviders, case: Case
) -> None:
    client = make_client(provider, fake, QUICK_RETRIES if case.waits_for_the_timeout else RETRIES)
    if case.always is InvalidAnswerError:
        assert client.dimensions > 100
        fake.calls.clear()
    fake.always(case.fault)
    if case.always is None:
        assert len(client.embeddings([WORDS, "b"], embedding_role=DOCUMENT)) == 2
        return
    with pytest.raises(case.always) as caught:
        client.embeddings([WORDS, "b"], embedding_role=DOCUMENT)
    message = str(caught.value)
    assert re.search(case.message, message), message
    assert "\n" not in message
    assert client.model in message
    assert WORDS not in message
    assert KEY not in message
    if case.requests is not None:
        assert len(fake.calls) == case.requests
    fake.fault = lambda _call: None
    again = make_client(provider, fake)
    rows = again.embeddings([WORDS, "b"], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows, expected(again, [WORDS, "b"]), atol=1e-6)


POISONS = {
    "400": Fault(400, error("bad")),
    "500": Fault(500, error("oops")),
    "500 for NaN": Fault(500, '{"error": "failed to encode response: json: unsupported value: NaN"}'),
    "cut": Fault(how="cut before"),
    "NaN": Fault(change=lambda rows: [[NAN] * len(row) if len(rows) < 6 else row for row in rows]),
    "no vectors": Fault(change=lambda rows: []),
}


@pytest.mark.parametrize("fault", POISONS.values(), ids=POISONS)
def test_one_bad_text_is_named_and_the_rest_is_embedded(
    client: EmbeddingClient, fake: FakeProviders, fault: Fault
) -> None:
    texts = (
        [f"text {number}" for number in range(5)] + ["poison"] + [f"text {number}" for number in range(6, 9)]
    )
    if fault is POISONS["NaN"]:
        fault = Fault(change=lambda rows: [*rows[:-1], [NAN] * len(rows[-1])])
        texts = [*texts[:5], *texts[6:], "poison"]
        texts.sort(key=len)
    fake.poison("poison", fault)
    embedded: dict[int, object] = {}
    failures: dict[int, str] = {}
    for part in client.embed_stream(texts, embedding_role=DOCUMENT):
        embedded.update(zip(part.positions.tolist(), part.vectors, strict=True))
        failures.update(part.failures)
    bad = texts.index("poison")
    assert sorted(failures) == [bad] or fault.change is not None
    assert bad in failures
    assert set(embedded) | set(failures) == set(range(len(texts)))
    assert len(fake.calls) < 30


@pytest.mark.parametrize(
    ("how", "retry"),
    [(Fault(429, error("slow"), {"Retry-After": "0.1"}), 0.1), (Fault(429, RETRY_INFO), 0.1)],
    ids=["Retry-After", "RetryInfo"],
)
def test_the_wait_that_a_provider_requests_is_kept(
    client: EmbeddingClient, fake: FakeProviders, how: Fault, retry: float
) -> None:
    if "RetryInfo" in (how.body or "") and not client.model.startswith("gemini"):
        return  # only Gemini speaks it
    fake.faults(how)
    started = time.monotonic()
    client.embeddings(["a"], embedding_role=DOCUMENT)
    assert time.monotonic() - started >= retry  # of itself it waits a tenth of this at most


def test_a_wait_beyond_the_deadline_is_not_started(client: EmbeddingClient, fake: FakeProviders) -> None:
    fake.always(Fault(429, error("slow"), {"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(RateLimitError) as caught:
        client.embeddings(["a"], embedding_role=DOCUMENT)
    assert time.monotonic() - started < 30
    assert caught.value.retry_after_seconds == 3600


@pytest.mark.parametrize("fault", [Fault(429, QUOTA), Fault(401, error("who?")), Fault(503, error("busy"))])
def test_results_before_a_lasting_failure_are_kept_and_a_re_run_does_the_rest(
    client: EmbeddingClient, fake: FakeProviders, fault: Fault
) -> None:
    texts = [f"text {number:04}" for number in range(3 * client.batch_texts + 16)]
    fake.fault = lambda _call: fault if len(fake.embedding_calls) > 2 else None
    embedded: list[int] = []
    parts = client.embed_stream(texts, embedding_role=DOCUMENT)
    with pytest.raises(ProviderError):
        embedded += (position for part in parts for position in part.positions.tolist())
    sizes = [len(call.texts) for call in fake.embedding_calls[:2]]
    assert len(embedded) == sum(sizes)
    fake.fault = lambda _call: None
    fake.calls.clear()
    rest = [text for position, text in enumerate(texts) if position not in set(embedded)]
    assert sum(len(part.positions) for part in client.embed_stream(rest, embedding_role=DOCUMENT)) == len(
        rest
    )
    assert sum(len(call.texts) for call in fake.embedding_calls) == len(rest)


def test_a_server_that_does_not_listen_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    for name, path in PROFILE_ADDRESSES.items():
        monkeypatch.setenv(name, f"http://127.0.0.1:9{path}")
    for name in PROFILE_KEYS:
        monkeypatch.setenv(name, KEY)
    for model in (*REMOTE.values(), *PROFILED.values()):
        client = EmbeddingClient(model, bulk_retries=RETRIES, query_retries=RETRIES)
        with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
            client.embeddings(["a"], embedding_role=DOCUMENT)
