"""EmbeddingClient: what it promises for any provider, with the packaged model and with scripted ones."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import (
    ConfigurationError,
    InputError,
    InvalidAnswerError,
    OmopEmbError,
    ProviderError,
    ProviderRefusedError,
    ProviderUnavailableError,
    QuotaExhaustedError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError, EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.retrying import RetryPolicy

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
BRIEF = RetryPolicy(timeout_seconds=1, max_attempts=3, deadline_seconds=5, first_wait_seconds=0.001)
CONFIDENTIAL = "a patient's own words"

Rows = Sequence[Sequence[float]]


def vector(text: str) -> list[float]:
    """Three numbers that one can check in the head: length, count of 'a', 1."""
    return [float(len(text)), float(text.count("a")), 1.0]


class Scripted:
    """A provider whose answers a test writes; counts and keeps what it was sent."""

    name, model = "scripted", "three-numbers"

    def __init__(
        self,
        answer: Callable[[Sequence[str]], Rows] = lambda texts: list(map(vector, texts)),
        *,
        batch_texts: int = 4,
        concurrency: int = 1,
    ) -> None:
        self.answer = answer
        self.tasks: dict[EmbeddingRole, str] = {}
        self.limits = Limits(batch_texts=batch_texts, concurrency=concurrency)
        self.sent: list[list[str]] = []

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        self.sent.append(list(texts))
        return EmbeddingResponse(self.answer(texts))

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        return ModelInfo(revision="r1", dimensions=3)


def client(
    provider: Scripted, *, dimensions: int | None = None, document_prefix: str = ""
) -> EmbeddingClient:
    return EmbeddingClient(
        provider=provider,
        dimensions=dimensions,
        document_prefix=document_prefix,
        bulk_retries=BRIEF,
        query_retries=BRIEF,
    )


def stream(
    provider: Scripted, texts: Sequence[object], **settings: str
) -> tuple[dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]], dict[int, str]]:
    rows: dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}
    failures: dict[int, str] = {}
    for part in client(provider, **settings).embed_stream(iter(texts), embedding_role=DOCUMENT):  # type: ignore[arg-type] # wrong types are part of what is tested
        rows.update(dict(zip(part.positions.tolist(), part.vectors, strict=True)))
        failures.update(part.failures)
    return rows, failures


@pytest.fixture(scope="module")
def packaged() -> EmbeddingClient:
    return EmbeddingClient("local:all-MiniLM-L6-v2")


def test_rows_are_unit_float32_in_the_order_of_the_texts(packaged: EmbeddingClient) -> None:
    texts = ["Myocardial infarction", "x" * 300, "aspirin", "Myocardial infarction", "Ménière's disease"]
    rows = packaged.embeddings(texts, embedding_role=DOCUMENT)
    assert rows.shape == (5, 384)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_allclose(packaged.embeddings([text], embedding_role=DOCUMENT)[0], row, atol=1e-5)


def test_no_texts_give_no_rows_of_the_right_width(packaged: EmbeddingClient) -> None:
    assert packaged.embeddings([], embedding_role=QUERY).shape == (0, 384)
    assert packaged.embeddings((), embedding_role=DOCUMENT).dtype == np.float32


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\x00", "\u00a0\u200b\ufeff", "\x07 \x1b"])
def test_a_blank_text_is_an_error_that_names_its_position(packaged: EmbeddingClient, blank: str) -> None:
    with pytest.raises(InputError, match="text 1 cannot be embedded: the text is blank"):
        packaged.embeddings([CONFIDENTIAL, blank], embedding_role=DOCUMENT)


def test_half_a_surrogate_pair_is_an_error_that_names_its_position(packaged: EmbeddingClient) -> None:
    with pytest.raises(InputError, match=r"text 0 cannot be embedded: .* not valid Unicode"):
        packaged.embeddings(["abc \ud800"], embedding_role=DOCUMENT)


def test_a_very_long_text_is_cut_by_the_model(packaged: EmbeddingClient) -> None:
    rows = packaged.embeddings(["fever " * 17_000, "fever " * 300], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


def test_control_and_nul_characters_are_embedded_with_the_rest(packaged: EmbeddingClient) -> None:
    rows = packaged.embeddings(["heart\x00 attack\x1b", "heart attack"], embedding_role=DOCUMENT)
    assert rows[0] @ rows[1] > 0.999


@pytest.mark.parametrize("texts", ["heart attack", b"heart", None, 7, {"a": "b"}])
def test_what_is_not_a_sequence_of_texts_is_an_error(packaged: EmbeddingClient, texts: object) -> None:
    with pytest.raises(InputError, match=f"texts must be a sequence of str; found .*{type(texts).__name__}"):
        packaged.embeddings(texts, embedding_role=DOCUMENT)  # type: ignore[arg-type] # the error is tested


@pytest.mark.parametrize("wrong", [None, 7, 1.5, b"heart", {"heart"}])
def test_what_is_not_a_text_is_an_error_that_names_its_position(
    packaged: EmbeddingClient, wrong: object
) -> None:
    with pytest.raises(InputError, match=f"text 1 must be a str; found {type(wrong).__name__}"):
        packaged.embeddings([CONFIDENTIAL, wrong], embedding_role=DOCUMENT)  # type: ignore[list-item] # the error is tested


def test_the_role_is_required_and_must_be_a_role(packaged: EmbeddingClient) -> None:
    with pytest.raises(TypeError, match="embedding_role"):
        packaged.embeddings(["a"])  # type: ignore[call-arg] # the error is tested
    with pytest.raises(InputError, match=r"EmbeddingRole\.DOCUMENT, EmbeddingRole\.QUERY"):
        packaged.embeddings(["a"], embedding_role="passage")
    as_text = packaged.embeddings(["a"], embedding_role="query")
    assert np.array_equal(as_text, packaged.embeddings(["a"], embedding_role=EmbeddingRole.QUERY))


def test_similarity_has_a_row_for_each_term_and_a_column_for_each_match(packaged: EmbeddingClient) -> None:
    table = packaged.similarity(
        "high blood pressure",
        ["Hypertension", "Fracture of radius"],
        terms_role=QUERY,
        terms_to_match_role=DOCUMENT,
    )
    assert table.shape == (1, 2)
    assert table[0, 0] > 0.6 > 0.4 > table[0, 1]
    assert np.abs(table).max() <= 1


def test_similarity_puts_each_side_s_prefix_before_its_texts() -> None:
    provider = Scripted()
    EmbeddingClient(provider=provider, document_prefix="D: ", query_prefix="Q: ").similarity(
        "x", "y", terms_role=QUERY, terms_to_match_role=DOCUMENT
    )
    assert provider.sent == [["Q: x"], ["D: y"]]


def test_prefixes_are_read_from_the_environment_at_construction_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "title: none | text: ")
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "Instruct: x\nQuery:")
    provider = Scripted()
    model_client = EmbeddingClient(provider=provider)
    monkeypatch.setenv("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "too late")
    model_client.embeddings([" a "], embedding_role=DOCUMENT)
    model_client.embeddings(["a"], embedding_role=QUERY)
    assert provider.sent == [["title: none | text:  a "], ["Instruct: x\nQuery:a"]]
    assert model_client.embedding_role_prefixes() == {
        DOCUMENT: "title: none | text: ",
        QUERY: "Instruct: x\nQuery:",
    }
    assert model_client.fingerprint.query_prefix == "Instruct: x\nQuery:"


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "environment ")
    model_client = EmbeddingClient(provider=Scripted(), document_prefix="")
    assert model_client.embedding_role_prefixes()[DOCUMENT] == ""


def test_only_an_empty_prefix_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    EmbeddingClient(provider=Scripted(), document_prefix="passage: ")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "OMOP_EMB_QUERY_EMBEDDING_PREFIX is empty" in caplog.text


@pytest.mark.parametrize(
    "model", ["all-MiniLM-L6-v2", "huggingface:x", "local:", ":x", "local:no_such_model"]
)
def test_an_impossible_model_is_refused_at_construction(model: str) -> None:
    with pytest.raises(ConfigurationError):
        EmbeddingClient(model)


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, True, "8"])
def test_impossible_dimensions_are_refused(dimensions: object) -> None:
    with pytest.raises(ConfigurationError, match="dimensions must be a whole number above 0"):
        EmbeddingClient(provider=Scripted(), dimensions=dimensions)  # type: ignore[arg-type] # the error is tested


def test_fewer_dimensions_are_cut_and_normalised_again() -> None:
    model_client = client(Scripted(), dimensions=2)
    np.testing.assert_allclose(
        model_client.embeddings(["aaab"], embedding_role=DOCUMENT), [[0.8, 0.6]], atol=1e-6
    )
    assert model_client.dimensions == 2
    assert model_client.fingerprint.dimensions == 2


def test_more_dimensions_than_the_model_has_are_an_error_before_anything_is_sent() -> None:
    provider = Scripted()
    with pytest.raises(ConfigurationError, match="3 dimensions, fewer than the requested 4"):
        _ = client(provider, dimensions=4).dimensions
    assert provider.sent == []


def test_a_repeated_text_is_sent_once() -> None:
    provider = Scripted()
    rows = client(provider).embeddings(["b", "a", "b", "b"], embedding_role=DOCUMENT)
    assert provider.sent == [["b", "a"]]
    assert (rows[0] == rows[2]).all()
    assert (rows[0] == rows[3]).all()


def test_repeated_queries_are_cached_and_documents_are_not() -> None:
    provider = Scripted()
    model_client = client(provider)
    first = model_client.embeddings(["a", "bb"], embedding_role=QUERY)
    again = model_client.embeddings(["bb", "ccc", "a"], embedding_role=QUERY)
    assert provider.sent == [["a", "bb"], ["ccc"]]
    np.testing.assert_array_equal(first, again[[2, 0]])
    again[0] = 9
    np.testing.assert_array_equal(model_client.embeddings(["bb"], embedding_role=QUERY)[0], first[1])
    model_client.embeddings(["a"], embedding_role=DOCUMENT)
    model_client.embeddings(["a"], embedding_role=DOCUMENT)
    assert provider.sent[2:] == [["a"], ["a"]]
    assert model_client.usage.cached_queries == 3


def test_a_lasting_store_serves_other_clients_and_holds_no_text() -> None:
    class Kept(dict[bytes, bytes]):
        def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            return {key: self[key] for key in keys if key in self}

        put_many = dict.update

    store, provider = Kept(), Scripted()
    first = EmbeddingClient(provider=provider, query_store=store).embeddings(
        [CONFIDENTIAL], embedding_role=QUERY
    )
    again = EmbeddingClient(provider=provider, query_store=store).embeddings(
        [CONFIDENTIAL], embedding_role=QUERY
    )
    np.testing.assert_array_equal(first, again)
    assert len(provider.sent) == 1
    assert CONFIDENTIAL.encode() not in b"".join([*store.keys(), *store.values()])
    other = EmbeddingClient(provider=provider, query_store=store, query_prefix="query: ")
    other.embeddings([CONFIDENTIAL], embedding_role=QUERY)
    assert len(provider.sent) == 2


def test_a_stream_gives_every_position_once_whatever_is_in_it() -> None:
    texts = ["a", "", "ccc", "a", "\ud800", "bb" * 9, "ccc"]
    rows, failures = stream(Scripted(concurrency=3, batch_texts=2), texts)
    assert sorted(rows) == [0, 2, 3, 5, 6]
    assert sorted(failures) == [1, 4]
    for position, row in rows.items():
        expected = np.array(vector(texts[position]))
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_stream_without_good_texts_reports_the_bad_ones() -> None:
    assert stream(Scripted(), ["", " "])[1] == {0: "the text is blank", 1: "the text is blank"}
    assert stream(Scripted(), []) == ({}, {})


def test_a_stream_reads_texts_only_as_it_needs_them() -> None:
    drawn = 0

    def endless() -> Iterator[str]:
        nonlocal drawn
        while True:
            drawn += 1
            yield f"text {drawn}"

    parts = client(Scripted(concurrency=2, batch_texts=10)).embed_stream(endless(), embedding_role=DOCUMENT)
    next(parts)
    assert drawn < 10_000
    parts.close()  # type: ignore[attr-defined] # it is a generator
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("omop-emb") and thread.daemon
    ]


def test_a_stream_refuses_a_single_text_at_once() -> None:
    with pytest.raises(InputError, match="found one str"):
        client(Scripted()).embed_stream("abc", embedding_role=DOCUMENT)
    with pytest.raises(InputError, match="text 1 must be a str; found NoneType"):
        stream(Scripted(), ["a", None])


def poisoned(error: OmopEmbError) -> Callable[[Sequence[str]], Rows]:
    def answer(texts: Sequence[str]) -> Rows:
        if any(CONFIDENTIAL in text for text in texts):
            raise error
        return [vector(text) for text in texts]

    return answer


def nan_for_poison(texts: Sequence[str]) -> Rows:
    return [[float("nan")] * 3 if CONFIDENTIAL in text else vector(text) for text in texts]


def zeros_for_poison(texts: Sequence[str]) -> Rows:
    return [[0.0] * 3 if CONFIDENTIAL in text else vector(text) for text in texts]


def nothing_for_poison(texts: Sequence[str]) -> Rows:
    return [vector(text) for text in texts if CONFIDENTIAL not in text]


POISONS = {
    "rejected": poisoned(TextRejectedError("HTTP 400")),
    "outage": poisoned(ProviderUnavailableError("HTTP 500")),
    "too large": poisoned(BatchTooLargeError("HTTP 413")),
    "NaN": nan_for_poison,
    "zeros": zeros_for_poison,
    "a missing row": nothing_for_poison,
}


@pytest.mark.parametrize("answer", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_one_bad_text_is_a_failure_and_the_rest_is_embedded(
    answer: Callable[[Sequence[str]], Rows], concurrency: int
) -> None:
    texts = [*(f"text {number:04}" for number in range(40)), CONFIDENTIAL, "last"]
    rows, failures = stream(Scripted(answer, batch_texts=16, concurrency=concurrency), texts)
    assert sorted(rows) == [*range(40), 41]
    assert list(failures) == [40]
    assert CONFIDENTIAL not in str(failures)


@pytest.mark.parametrize("answer", POISONS.values(), ids=POISONS)
def test_a_bad_text_in_a_list_is_an_error_that_names_its_position(
    answer: Callable[[Sequence[str]], Rows],
) -> None:
    for role in EmbeddingRole:
        with pytest.raises(TextRejectedError, match=r"^text 3 cannot be embedded") as caught:
            client(Scripted(answer)).embeddings(["a", "b", "b", CONFIDENTIAL], embedding_role=role)
        assert caught.value.positions == (3,)
        assert CONFIDENTIAL not in str(caught.value)


def test_a_wrong_setting_is_not_blamed_on_the_texts() -> None:
    def refuse(texts: Sequence[str]) -> Rows:
        raise TextRejectedError("scripted:three-numbers refused the request (HTTP 400)")

    provider = Scripted(refuse, batch_texts=64)
    with pytest.raises(ProviderError, match="a plain test word fails too") as caught:
        stream(provider, [f"text {number}" for number in range(64)])
    assert not isinstance(caught.value, TextRejectedError)
    assert len(provider.sent) == 2


def test_many_refused_texts_in_a_row_end_the_stream() -> None:
    provider = Scripted(poisoned(TextRejectedError("HTTP 400")), batch_texts=1)
    with pytest.raises(ProviderError, match="25 texts in a row"):
        stream(provider, ["good", *(f"{CONFIDENTIAL} {number}" for number in range(100))])


def test_a_batch_of_only_bad_texts_is_a_part_without_rows() -> None:
    provider = Scripted(nan_for_poison, batch_texts=2)
    texts = ["good", "fine", f"{CONFIDENTIAL} 1", f"{CONFIDENTIAL} 2"]
    parts = list(client(provider).embed_stream(texts, embedding_role=DOCUMENT))
    assert [part.positions.tolist() for part in parts] == [[0, 1], []]
    assert [part.vectors.shape for part in parts] == [(2, 3), (0, 3)]
    assert sorted(parts[1].failures) == [2, 3]


def test_a_model_that_breaks_during_a_stream_is_not_blamed_on_the_texts() -> None:
    good = [[vector("a")] * 4]
    provider = Scripted(lambda texts: good.pop() if good else [[float("nan")] * 3 for _ in texts])
    with pytest.raises(ProviderError, match="zeros or NaN; a plain test word fails too"):
        stream(provider, [f"text {number}" for number in range(8)])


def test_a_lasting_outage_is_reported_with_the_number_of_attempts() -> None:
    def fail(texts: Sequence[str]) -> Rows:
        raise ProviderUnavailableError("scripted:three-numbers is away (HTTP 503)")

    provider = Scripted(fail)
    with pytest.raises(ProviderUnavailableError, match=r"is away \(HTTP 503\) \(tried 3 times in 0\.0 s\)$"):
        client(provider).embeddings(["a", "b"], embedding_role=DOCUMENT)
    assert len(provider.sent) == 4  # three tries, and one for a plain test word


def test_a_short_outage_goes_unnoticed() -> None:
    outages = [ProviderUnavailableError("away"), ProviderUnavailableError("away")]

    def fail_twice(texts: Sequence[str]) -> Rows:
        if outages:
            raise outages.pop()
        return [vector(text) for text in texts]

    assert client(Scripted(fail_twice)).embeddings(["a"], embedding_role=QUERY).shape == (1, 3)


@pytest.mark.parametrize("error", [ProviderRefusedError("HTTP 401"), QuotaExhaustedError("used up")])
def test_errors_that_no_retry_helps_are_not_retried(error: OmopEmbError) -> None:
    def fail(texts: Sequence[str]) -> Rows:
        raise error

    provider = Scripted(fail)
    with pytest.raises(type(error)):
        client(provider).embeddings(["a", "b"], embedding_role=DOCUMENT)
    assert len(provider.sent) == 1


def test_finished_parts_are_yielded_before_a_lasting_failure_is_raised() -> None:
    barrier = threading.Barrier(4, timeout=5)

    def answer(texts: Sequence[str]) -> Rows:
        barrier.wait()
        if "failing" in texts[0]:
            raise QuotaExhaustedError("used up")
        return [vector(text) for text in texts]

    provider = Scripted(answer, batch_texts=1, concurrency=4)
    parts = client(provider).embed_stream(
        ["failing", "good one", "good two+", "good three"], embedding_role=DOCUMENT
    )
    positions: list[int] = []
    with pytest.raises(QuotaExhaustedError):
        positions += itertools.chain.from_iterable(part.positions.tolist() for part in parts)
    assert sorted(positions) == [1, 2, 3]


def test_a_change_of_dimensions_is_an_error() -> None:
    widths = iter([3, 2])

    def answer(texts: Sequence[str]) -> Rows:
        width = next(widths)
        return [[1.0] * width for _ in texts]

    with pytest.raises(InvalidAnswerError, match="2 dimensions, not 3"):
        stream(Scripted(answer, batch_texts=1), ["a", "bb"])


def test_a_request_too_large_makes_the_next_ones_smaller() -> None:
    def at_most_two(texts: Sequence[str]) -> Rows:
        if len(texts) > 2:
            raise BatchTooLargeError("HTTP 413")
        return [vector(text) for text in texts]

    provider = Scripted(at_most_two, batch_texts=8)
    rows, failures = stream(provider, [f"text {number:04}" for number in range(64)])
    assert len(rows) == 64
    assert failures == {}
    assert [len(texts) for texts in provider.sent[:3]] == [8, 4, 2]
    assert max(len(texts) for texts in provider.sent[9:]) == 2


def test_no_text_or_key_is_in_a_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    model_client = client(Scripted(poisoned(TextRejectedError("HTTP 400"))))
    with pytest.raises(TextRejectedError) as caught:
        model_client.embeddings(["a", CONFIDENTIAL], embedding_role=DOCUMENT)
    assert CONFIDENTIAL not in caplog.text + repr(model_client) + str(caught.value) + repr(caught.value)
