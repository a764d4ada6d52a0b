"""Failures of local models: damaged files, odd outputs, and texts that they cannot embed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, InvalidAnswerError, OmopEmbError, ProviderError
from tests.tiny_models import WORDS, tiny_folder, write_json

DOCUMENT = EmbeddingRole.DOCUMENT
TEXTS = ["heart attack", "fever"]
EXPECTED = np.array([[4, 4, 0], [-2, 1, 2]]) / np.array([[32**0.5], [3]])


def local_client(folder: Path, options: str = "") -> EmbeddingClient:
    return EmbeddingClient(f"local:{folder}{options}", document_prefix="", query_prefix="")


def embedded(client: EmbeddingClient) -> Vectors:
    rows = client.embeddings(TEXTS, embedding_role=DOCUMENT)
    assert client.dimensions == 3  # which compares the rows with what the files say
    return rows


@dataclass(frozen=True)
class Case:
    """How a folder is spoilt, and what the user reads then."""

    spoil: Callable[[Path], object]
    error: type[OmopEmbError]
    message: str


def weights(folder: Path) -> Path:
    return folder / "onnx" / "model.onnx"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def corrupt(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[: len(raw) // 2] = b"\xff" * (len(raw) // 2)
    path.write_bytes(raw)


def unreadable(path: Path) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file that root cannot read either")
    path.unlink()
    path.symlink_to("/proc/self/mem")


def replaced(**settings: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder)
        tiny_folder(folder, **settings)  # type: ignore[arg-type] # each case names its own

    return spoil


def another_input(folder: Path) -> None:
    model = onnx.load(str(weights(folder)))
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("pixel_values", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    )
    onnx.save(model, str(weights(folder)))


def weights_elsewhere(folder: Path) -> None:
    model = onnx.load(str(weights(folder)))
    onnx.save(
        model,
        str(weights(folder)),
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    (folder / "onnx" / "model.onnx_data").unlink()


ALL_NAN = {word: (float("nan"),) * 3 for word in WORDS}
ALL_ZERO = dict.fromkeys(WORDS, (0.0,) * 3)
WIDE = {word: (*vector, 1.0) for word, vector in WORDS.items()}
FEW = {"[PAD]": (9.0, 9.0, 9.0)}

CASES = {
    "no folder": Case(shutil.rmtree, ConfigurationError, "there is no folder"),
    "no weights": Case(
        lambda folder: weights(folder).unlink(), ConfigurationError, "contains no onnx/model.onnx"
    ),
    "weights cut short": Case(
        lambda folder: cut(weights(folder)), ConfigurationError, "a complete ONNX file"
    ),
    "no byte of weights": Case(
        lambda folder: weights(folder).write_bytes(b""), ConfigurationError, "a complete ONNX file"
    ),
    "corrupt weights": Case(
        lambda folder: corrupt(weights(folder)), ConfigurationError, "a complete ONNX file"
    ),
    "weights that cannot be read": Case(
        lambda folder: unreadable(weights(folder)), ConfigurationError, r"model\.onnx cannot be read"
    ),
    "weights in a file that is missing": Case(weights_elsewhere, ConfigurationError, "a complete ONNX file"),
    "no tokenizer": Case(
        lambda folder: (folder / "tokenizer.json").unlink(),
        ConfigurationError,
        r"contains no tokenizer\.json",
    ),
    "a tokenizer cut short": Case(
        lambda folder: cut(folder / "tokenizer.json"), ConfigurationError, r"tokenizer\.json of this model"
    ),
    "another JSON as tokenizer": Case(
        lambda folder: write_json(folder / "tokenizer.json", {"a": 1}),
        ConfigurationError,
        r"tokenizer\.json of this model",
    ),
    "settings that are no JSON": Case(
        lambda folder: cut(folder / "config.json"), ConfigurationError, r"config\.json is not readable JSON"
    ),
    "an unknown pooling": Case(
        lambda folder: write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_median": True}),
        ConfigurationError,
        "pools by pooling_mode_median; omop-emb knows mean, cls, max, last",
    ),
    "no pooling": Case(replaced(pooling=None), ConfigurationError, "@mean, @cls, @max or @last"),
    "a model of pictures": Case(another_input, ConfigurationError, "needs pixel_values"),
    "a classifier": Case(
        replaced(output="logits"), ConfigurationError, "no output with one vector per token"
    ),
    "other dimensions than config.json says": Case(
        replaced(words=WIDE), InvalidAnswerError, "4 dimensions, not 3"
    ),
    "more rows than texts": Case(
        replaced(output="sentence_embedding", more_rows=1), ProviderError, r"shape \(3, 3\) for 2 texts"
    ),
    "NaN for every text": Case(replaced(words=ALL_NAN), ProviderError, "zeros or NaN; a plain test word"),
    "zeros for every text": Case(replaced(words=ALL_ZERO), ProviderError, "zeros or NaN; a plain test word"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_damaged_model_is_reported_in_one_line_and_works_after_repair(folder: Path, case: Case) -> None:
    case.spoil(folder)
    spoilt = local_client(folder)
    with pytest.raises(case.error) as caught:
        embedded(spoilt)
    message = str(caught.value)
    assert re.search(case.message, message), message
    assert str(folder) in message
    assert "\n" not in message
    assert not any(text in message for text in TEXTS)
    shutil.rmtree(folder, ignore_errors=True)
    tiny_folder(folder)
    np.testing.assert_allclose(embedded(local_client(folder)), EXPECTED, atol=1e-6)


@pytest.mark.parametrize("name", ["weights cut short", "a tokenizer cut short", "a model of pictures"])
def test_files_that_cannot_be_loaded_have_no_fingerprint(folder: Path, name: str) -> None:
    CASES[name].spoil(folder)
    with pytest.raises(ConfigurationError, match=CASES[name].message):
        _ = local_client(folder).fingerprint


def test_a_model_that_fails_on_every_text_is_not_blamed_on_one_text(folder: Path) -> None:
    # Words have ids beyond the table, as with the tokenizer of another model.
    tiny_folder(folder.parent / "other", words=FEW)
    shutil.copy(weights(folder.parent / "other"), weights(folder))
    with pytest.raises(ProviderError, match=r"onnxruntime fails on it .* a plain test word fails too"):
        local_client(folder).embeddings(TEXTS, embedding_role=DOCUMENT)


POISONS = {"NaN": "heart nan", "zeros": "nil nil", "an id beyond the table": "heart odd attack"}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
@pytest.mark.parametrize("bad_position", [0, 20, 40])
def test_one_bad_text_is_a_failure_and_the_rest_is_embedded(
    folder: Path, poison: str, bad_position: int
) -> None:
    texts = [f"fever {'heart ' * number}" for number in range(40)]
    texts.insert(bad_position, poison)
    rows: dict[int, object] = {}
    failures: dict[int, str] = {}
    for part in local_client(folder).embed_stream(texts, embedding_role=DOCUMENT):
        rows.update(zip(part.positions.tolist(), part.vectors, strict=True))
        failures.update(part.failures)
    assert list(failures) == [bad_position]
    assert poison not in failures[bad_position]
    assert sorted(rows) == [position for position in range(41) if position != bad_position]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
def test_a_text_without_a_token_has_no_vector(folder: Path, pooling: str) -> None:
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace("¿", "")
    tokenizer.save(str(folder / "tokenizer.json"))
    client = local_client(folder, f"@{pooling}")
    with pytest.raises(ProviderError, match=r"^text 1 cannot be embedded: .* zeros or NaN"):
        client.embeddings(["fever", "¿"], embedding_role=DOCUMENT)
