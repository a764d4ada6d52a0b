"""Model folders: pooling, longest text, prompts, and what changes the fingerprint."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import ConfigurationError
from omop_emb.providers.model_folder import folder_files
from tests.tiny_models import WORDS, spelling_folder, tiny_folder, write_json

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
# heart (3, 4, 0), attack (1, 0, 0), fever (-2, 1, 2): what each pooling makes of them.
POOLED = {"mean": (2 / 3, 5 / 3, 2 / 3), "cls": (3, 4, 0), "max": (3, 4, 2), "last": (-2, 1, 2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


def client(folder: Path, options: str = "", **settings: Any) -> EmbeddingClient:
    arguments: dict[str, Any] = {"document_prefix": "", "query_prefix": "", **settings}
    return EmbeddingClient(f"local:{folder}{options}", **arguments)


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("by", ["the folder", "the name"])
def test_folder_or_name_chooses_the_pooling_and_padding_is_ignored(
    tmp_path: Path, pooling: str, by: str
) -> None:
    recorded = pooling if by == "the folder" else "mean"
    model_client = client(
        tiny_folder(tmp_path / "m", pooling=recorded), "" if by == "the folder" else f"@{pooling}"
    )
    # The second text is longer, so that the first is padded beside it.
    texts = ["heart attack fever", "heart heart heart heart attack"]
    rows = model_client.embeddings(texts, embedding_role=DOCUMENT)
    expected = np.array(POOLED[pooling])
    np.testing.assert_allclose(rows[0], expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("spelling", ["mean", "cls", "max", "lasttoken"])
def test_the_newer_spelling_of_a_pooling_is_understood(folder: Path, spelling: str) -> None:
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": spelling})
    assert folder_files(folder).pooling == spelling.removesuffix("token")


def test_two_poolings_at_once_are_refused(folder: Path) -> None:
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}
    write_json(folder / "1_Pooling" / "config.json", both)
    with pytest.raises(ConfigurationError, match="one at a time"):
        folder_files(folder)


def test_folder_or_name_sets_the_longest_text(folder: Path) -> None:
    long, short = "heart " * 2 + "fever " * 20, "heart " * 2 + "fever " * 6
    rows = client(folder).embeddings([long, short], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)  # eight tokens
    (row,) = client(folder, "@max_tokens=2").embeddings([long], embedding_role=DOCUMENT)
    np.testing.assert_allclose(row, np.array(WORDS["heart"]) / 5, atol=1e-6)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 64}}, 64),
        ({"tokenizer_config.json": {"model_max_length": 128}}, 128),
        ({"tokenizer_config.json": {"model_max_length": 10**30}}, 512),  # how "no limit" is written
        ({"config.json": {"max_position_embeddings": 2048}}, 2048),
        ({}, 512),
    ],
)
def test_the_longest_text_comes_from_the_first_file_that_has_it(
    folder: Path, files: dict[str, Any], expected: int
) -> None:
    (folder / "sentence_bert_config.json").unlink()
    for name, content in files.items():
        write_json(folder / name, content)
    assert folder_files(folder).max_tokens == expected


def test_prompts_of_the_folder_are_suggested_and_never_applied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    model_client = client(spelling_folder(tmp_path / "m", prompts=prompts))
    plain = client(spelling_folder(tmp_path / "plain"))
    assert model_client.dimensions == 128
    assert "'query: ' before a query's text" in caplog.text
    assert "'passage: ' before a document's text" in caplog.text
    assert len(model_client.setting_warnings()) == 2
    assert all(line in caplog.text for line in model_client.setting_warnings())
    for role in EmbeddingRole:
        np.testing.assert_array_equal(
            model_client.embeddings(["ab"], embedding_role=role),
            plain.embeddings(["ab"], embedding_role=role),
        )
    caplog.clear()
    right = client(tmp_path / "m", document_prefix="passage: ", query_prefix="query: ")
    assert right.setting_warnings() == []
    assert caplog.text == ""


def test_a_cut_vector_is_normalised_again(folder: Path) -> None:
    (row,) = client(folder, dimensions=2).embeddings(["heart fever"], embedding_role=QUERY)
    np.testing.assert_allclose(row, np.array([1, 5]) / 26**0.5, atol=1e-6)


def test_a_vector_that_is_zero_after_the_cut_is_refused(tmp_path: Path) -> None:
    model_client = client(tiny_folder(tmp_path / "m"), dimensions=2)
    with pytest.raises(Exception, match=r"text 1 cannot be embedded: .* zeros or NaN"):
        model_client.embeddings(["heart", "nil"], embedding_role=DOCUMENT)


CHANGES = {
    "other weights": {"words": {**WORDS, "heart": (3.0, 4.0, 1.0)}},
    "another word": {"words": {**WORDS, "arm": (1.0, 1.0, 0.0)}},
    "another pooling": {"pooling": "cls"},
    "another longest text": {"max_tokens": 9},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_shapes_a_vector_makes_another_fingerprint(folder: Path, change: dict[str, Any]) -> None:
    before = client(folder).fingerprint
    shutil.rmtree(folder)
    assert client(tiny_folder(folder)).fingerprint == before
    shutil.rmtree(folder)
    changed = client(tiny_folder(folder, **change)).fingerprint
    assert [difference.split()[0] for difference in before.differences(changed)] == ["revision"]


def test_files_that_shape_no_vector_leave_the_fingerprint_unchanged(folder: Path) -> None:
    before = client(folder).fingerprint
    (folder / "README.md").write_text("more words")
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: "}})
    assert client(folder).fingerprint == before


def test_layers_after_pooling_must_be_in_the_onnx_file(tmp_path: Path) -> None:
    names = ("Transformer", "Pooling", "Dense", "Normalize")
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in names]
    folder = tiny_folder(tmp_path / "tokens")
    write_json(folder / "modules.json", modules)
    with pytest.raises(ConfigurationError, match=r"layers after pooling .* sentence_embedding"):
        client(folder).embeddings(["heart"], embedding_role=DOCUMENT)
    whole = tiny_folder(tmp_path / "whole", output="sentence_embedding")
    write_json(whole / "modules.json", modules)
    (row,) = client(whole).embeddings(["heart"], embedding_role=DOCUMENT)
    np.testing.assert_allclose(row, np.array(WORDS["heart"]) / 5, atol=1e-6)


def test_a_folder_of_pytorch_weights_says_how_to_export_them(folder: Path) -> None:
    (folder / "onnx" / "model.onnx").rename(folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=r"only model\.safetensors, which are not read.*optimum-cli"):
        client(folder).embeddings(["heart"], embedding_role=DOCUMENT)


def test_two_encoders_with_different_dimensions_are_refused(tmp_path: Path) -> None:
    model_client = client(tiny_folder(tmp_path / "a"), f",{spelling_folder(tmp_path / 'b')}")
    model_client.embeddings(["heart"], embedding_role=DOCUMENT)
    with pytest.raises(Exception, match="128 dimensions, not 3"):
        model_client.embeddings(["heart"], embedding_role=QUERY)


def test_any_number_of_threads_gives_the_same_vectors(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    texts = [f"heart {'fever ' * (number % 5)}attack" for number in range(2000)]
    one = client(folder, "", concurrency=1).embeddings(texts, embedding_role=DOCUMENT)
    monkeypatch.setenv("OMOP_EMB_THREADS", "7")
    np.testing.assert_allclose(client(folder).embeddings(texts, embedding_role=DOCUMENT), one, atol=1e-6)
